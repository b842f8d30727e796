BEGIN TRANSACTION;
CREATE TABLE alerts (
	id INTEGER NOT NULL, 
	chart VARCHAR NOT NULL, 
	cohort VARCHAR NOT NULL, 
	fired FLOAT NOT NULL, 
	cleared FLOAT, 
	rating INTEGER NOT NULL, 
	details JSON NOT NULL, 
	name VARCHAR DEFAULT '' NOT NULL, 
	rule VARCHAR DEFAULT '' NOT NULL, 
	until FLOAT, 
	PRIMARY KEY (id)
);
CREATE TABLE baselines (
	chart VARCHAR NOT NULL, 
	cohort VARCHAR NOT NULL, 
	p0 FLOAT NOT NULL, 
	phi FLOAT NOT NULL, 
	phase VARCHAR DEFAULT '' NOT NULL, 
	reason VARCHAR DEFAULT '' NOT NULL, 
	excluded JSON, 
	time FLOAT NOT NULL, 
	PRIMARY KEY (chart, cohort)
);
CREATE TABLE calls (
	trace_id VARCHAR NOT NULL, 
	span_id VARCHAR NOT NULL, 
	parent_id VARCHAR DEFAULT '' NOT NULL, 
	turn_id VARCHAR DEFAULT '' NOT NULL, 
	operation VARCHAR DEFAULT '' NOT NULL, 
	service VARCHAR DEFAULT '' NOT NULL, 
	environment VARCHAR DEFAULT '' NOT NULL, 
	conversation_id VARCHAR DEFAULT '' NOT NULL, 
	user_id VARCHAR DEFAULT '' NOT NULL, 
	segment VARCHAR DEFAULT '' NOT NULL, 
	variant VARCHAR DEFAULT '' NOT NULL, 
	model VARCHAR DEFAULT '' NOT NULL, 
	response_model VARCHAR DEFAULT '' NOT NULL, 
	provider VARCHAR DEFAULT '' NOT NULL, 
	prompt_name VARCHAR DEFAULT '' NOT NULL, 
	prompt_version VARCHAR DEFAULT '' NOT NULL, 
	index_name VARCHAR DEFAULT '' NOT NULL, 
	index_version VARCHAR DEFAULT '' NOT NULL, 
	response_id VARCHAR DEFAULT '' NOT NULL, 
	input_tokens INTEGER, 
	output_tokens INTEGER, 
	started FLOAT NOT NULL, 
	ended FLOAT NOT NULL, 
	outcome VARCHAR DEFAULT '' NOT NULL, 
	finish VARCHAR DEFAULT '' NOT NULL, 
	error VARCHAR DEFAULT '' NOT NULL, 
	answered BOOLEAN NOT NULL, 
	"query" TEXT, 
	answer TEXT, 
	messages JSON, 
	documents JSON, 
	received FLOAT NOT NULL, 
	PRIMARY KEY (trace_id, span_id)
);
INSERT INTO "calls" VALUES('0af7651916cd43dd8448eb211c80319c','b7ad6b7169203331','','0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331','chat','chat','prod','','','','','m-1','','','support','7','','','resp-b7ad6b7169203331',10,5,1794999939.0,1794999940.0,'','','',1,'why?','because','[]','[]',1795000000.0);
INSERT INTO "calls" VALUES('0af7651916cd43dd8448eb211c80319c','b7ad6b7169203332','','0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332','chat','chat','prod','c1','','','','m-1','','','support','7','','','resp-b7ad6b7169203332',10,5,1794999939.0,1794999940.0,'','','',1,'why?','as it is','[]','[]',1795000000.0);
CREATE TABLE clocks (
	chart VARCHAR NOT NULL, 
	start FLOAT NOT NULL, 
	first FLOAT NOT NULL, 
	per_day FLOAT NOT NULL, 
	looked FLOAT, 
	PRIMARY KEY (chart)
);
CREATE TABLE counters (
	metric VARCHAR NOT NULL, 
	labels VARCHAR NOT NULL, 
	value FLOAT NOT NULL, 
	exposed INTEGER NOT NULL, 
	exemplar JSON, 
	PRIMARY KEY (metric, labels)
);
INSERT INTO "counters" VALUES('backspan_answers_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","service.name":"chat"}',2.0,1,'{"span_id":"b7ad6b7169203332","time":1794999940.0,"trace_id":"0af7651916cd43dd8448eb211c80319c","value":1.0}');
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"add","polarity":"negative","service.name":"chat","source":"end_user"}',1.0,1,'{"span_id":"b7ad6b7169203332","time":1795000000.0,"trace_id":"0af7651916cd43dd8448eb211c80319c","value":1.0}');
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1d","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"add","polarity":"negative","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"older","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"add","polarity":"negative","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","polarity":"negative","service.name":"chat","solicited":"asked"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","polarity":"negative","service.name":"chat","solicited":"volunteered"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"add","polarity":"positive","service.name":"chat","source":"end_user"}',2.0,1,'{"span_id":"2222222222222222","time":1795000000.0,"trace_id":"11111111111111111111111111111111","value":1.0}');
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1d","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"add","polarity":"positive","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"older","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"add","polarity":"positive","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","polarity":"positive","service.name":"chat","solicited":"asked"}',1.0,1,'{"span_id":"b7ad6b7169203331","time":1795000000.0,"trace_id":"0af7651916cd43dd8448eb211c80319c","value":1.0}');
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","polarity":"positive","service.name":"chat","solicited":"volunteered"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","op":"add","polarity":"negative","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1d","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","op":"add","polarity":"negative","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"older","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","op":"add","polarity":"negative","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","polarity":"negative","service.name":"chat","solicited":"asked"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","polarity":"negative","service.name":"chat","solicited":"volunteered"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","op":"add","polarity":"positive","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1d","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","op":"add","polarity":"positive","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"older","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","op":"add","polarity":"positive","service.name":"chat","source":"end_user"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","polarity":"positive","service.name":"chat","solicited":"asked"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_solicited_total','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_stars","polarity":"positive","service.name":"chat","solicited":"volunteered"}',0.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_score','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","le":"1.0","name":"user_thumbs","service.name":"chat","source":"end_user"}',2.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_score','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","le":"sum","name":"user_thumbs","service.name":"chat","source":"end_user"}',2.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_delay_seconds','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","le":"60.0","name":"user_thumbs","service.name":"chat","source":"end_user"}',3.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_delay_seconds','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","le":"sum","name":"user_thumbs","service.name":"chat","source":"end_user"}',180.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"retract","polarity":"positive","service.name":"chat","source":"end_user"}',1.0,1,'{"span_id":"b7ad6b7169203331","time":1795000000.0,"trace_id":"0af7651916cd43dd8448eb211c80319c","value":1.0}');
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"change","polarity":"negative","service.name":"chat","source":"end_user"}',1.0,1,'{"span_id":"b7ad6b7169203331","time":1795000000.0,"trace_id":"0af7651916cd43dd8448eb211c80319c","value":1.0}');
INSERT INTO "counters" VALUES('backspan_feedback_reasons_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"change","polarity":"negative","reason":"inaccurate","service.name":"chat","source":"end_user"}',1.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_score','{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","le":"0.0","name":"user_thumbs","service.name":"chat","source":"end_user"}',2.0,1,NULL);
INSERT INTO "counters" VALUES('backspan_feedback_total','{"age":"le_1h","backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","name":"user_thumbs","op":"retract","polarity":"negative","service.name":"chat","source":"end_user"}',1.0,1,'{"span_id":"b7ad6b7169203332","time":1795000000.0,"trace_id":"0af7651916cd43dd8448eb211c80319c","value":1.0}');
CREATE TABLE detectors (
	chart VARCHAR NOT NULL, 
	cohort VARCHAR NOT NULL, 
	state JSON NOT NULL, 
	ratings FLOAT NOT NULL, 
	bad FLOAT NOT NULL, 
	updated FLOAT NOT NULL, 
	PRIMARY KEY (chart, cohort)
);
CREATE TABLE drawn (
	chart VARCHAR NOT NULL, 
	cohort VARCHAR NOT NULL, 
	number INTEGER NOT NULL, 
	n FLOAT NOT NULL, 
	bad FLOAT NOT NULL, 
	statistic FLOAT, 
	p0 FLOAT, 
	phi FLOAT, 
	phase VARCHAR DEFAULT '' NOT NULL, 
	started FLOAT NOT NULL, 
	ended FLOAT NOT NULL, 
	PRIMARY KEY (chart, cohort, number)
);
CREATE TABLE leases (
	name VARCHAR NOT NULL, 
	holder VARCHAR NOT NULL, 
	until FLOAT NOT NULL, 
	PRIMARY KEY (name)
);
CREATE TABLE meta (
	"key" VARCHAR NOT NULL, 
	value JSON NOT NULL, 
	PRIMARY KEY ("key")
);
INSERT INTO "meta" VALUES('schema',4);
INSERT INTO "meta" VALUES('retention','{"alerts":null,"size":null,"turns":86400.0,"votes":null}');
CREATE TABLE outbox (
	seq INTEGER NOT NULL, 
	emitted FLOAT, 
	PRIMARY KEY (seq)
);
INSERT INTO "outbox" VALUES(1,1795000100.0);
INSERT INTO "outbox" VALUES(2,1795000100.0);
INSERT INTO "outbox" VALUES(3,NULL);
INSERT INTO "outbox" VALUES(4,NULL);
INSERT INTO "outbox" VALUES(5,NULL);
CREATE TABLE totals (
	chart VARCHAR NOT NULL, 
	cohort VARCHAR NOT NULL, 
	at FLOAT NOT NULL, 
	n FLOAT NOT NULL, 
	bad FLOAT NOT NULL, 
	PRIMARY KEY (chart, cohort, at)
);
CREATE TABLE turns (
	turn_id VARCHAR NOT NULL, 
	trace_id VARCHAR DEFAULT '' NOT NULL, 
	span_id VARCHAR DEFAULT '' NOT NULL, 
	service VARCHAR DEFAULT '' NOT NULL, 
	environment VARCHAR DEFAULT '' NOT NULL, 
	conversation_id VARCHAR DEFAULT '' NOT NULL, 
	user_id VARCHAR DEFAULT '' NOT NULL, 
	segment VARCHAR DEFAULT '' NOT NULL, 
	variant VARCHAR DEFAULT '' NOT NULL, 
	model VARCHAR DEFAULT '' NOT NULL, 
	response_model VARCHAR DEFAULT '' NOT NULL, 
	provider VARCHAR DEFAULT '' NOT NULL, 
	prompt_name VARCHAR DEFAULT '' NOT NULL, 
	prompt_version VARCHAR DEFAULT '' NOT NULL, 
	index_name VARCHAR DEFAULT '' NOT NULL, 
	index_version VARCHAR DEFAULT '' NOT NULL, 
	response_id VARCHAR DEFAULT '' NOT NULL, 
	input_tokens INTEGER, 
	output_tokens INTEGER, 
	started FLOAT NOT NULL, 
	ended FLOAT NOT NULL, 
	duration FLOAT, 
	outcome VARCHAR DEFAULT '' NOT NULL, 
	finish VARCHAR DEFAULT '' NOT NULL, 
	error VARCHAR DEFAULT '' NOT NULL, 
	"query" TEXT, 
	answer TEXT, 
	documents JSON, 
	calls INTEGER NOT NULL, 
	rooted BOOLEAN NOT NULL, 
	answered BOOLEAN NOT NULL, 
	counted BOOLEAN NOT NULL, 
	received FLOAT NOT NULL, 
	touched FLOAT NOT NULL, 
	PRIMARY KEY (turn_id)
);
INSERT INTO "turns" VALUES('0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331','0af7651916cd43dd8448eb211c80319c','b7ad6b7169203331','chat','prod','','','','','m-1','','','support','7','','','resp-b7ad6b7169203331',10,5,1794999939.0,1794999940.0,1.0,'','','','why?','because','[]',1,0,1,1,1795000000.0,1795000000.0);
INSERT INTO "turns" VALUES('0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332','0af7651916cd43dd8448eb211c80319c','b7ad6b7169203332','chat','prod','c1','','','','m-1','','','support','7','','','resp-b7ad6b7169203332',10,5,1794999939.0,1794999940.0,1.0,'','','','why?','as it is','[]',1,0,1,1,1795000000.0,1795000000.0);
CREATE TABLE vote_log (
	seq INTEGER NOT NULL, 
	id VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	op VARCHAR DEFAULT '' NOT NULL, 
	name VARCHAR DEFAULT '' NOT NULL, 
	value FLOAT, 
	label VARCHAR, 
	polarity VARCHAR DEFAULT '' NOT NULL, 
	reasons JSON, 
	comment TEXT, 
	correction TEXT, 
	source VARCHAR DEFAULT '' NOT NULL, 
	solicited BOOLEAN, 
	digest VARCHAR DEFAULT '' NOT NULL, 
	delay FLOAT, 
	time FLOAT NOT NULL, 
	received FLOAT NOT NULL, 
	counted BOOLEAN NOT NULL, 
	origin VARCHAR DEFAULT '' NOT NULL, 
	PRIMARY KEY (seq)
);
INSERT INTO "vote_log" VALUES(1,'f1',1,'add','user_thumbs',1.0,'pass','positive','[]',NULL,NULL,'end_user',1,'',60.0,1795000000.0,1795000000.0,1,'http');
INSERT INTO "vote_log" VALUES(2,'f1',2,'change','user_thumbs',0.0,'fail','negative','["inaccurate"]','no: it''s ''older''',NULL,'end_user',NULL,'',60.0,1795000000.0,1795000000.0,1,'http');
INSERT INTO "vote_log" VALUES(3,'f2',1,'add','user_thumbs',0.0,'fail','negative','[]',NULL,NULL,'end_user',NULL,'',60.0,1795000000.0,1795000000.0,1,'http');
INSERT INTO "vote_log" VALUES(4,'f2',2,'retract','user_thumbs',0.0,'fail','negative','[]',NULL,NULL,'end_user',NULL,'',60.0,1795000000.0,1795000000.0,1,'http');
INSERT INTO "vote_log" VALUES(5,'f3',1,'add','user_thumbs',1.0,'pass','positive','[]',NULL,NULL,'end_user',NULL,'',60.0,1795000000.0,1795000000.0,1,'http');
CREATE TABLE votes (
	id VARCHAR NOT NULL, 
	version INTEGER NOT NULL, 
	op VARCHAR DEFAULT '' NOT NULL, 
	name VARCHAR DEFAULT '' NOT NULL, 
	value FLOAT, 
	label VARCHAR, 
	polarity VARCHAR DEFAULT '' NOT NULL, 
	reasons JSON, 
	comment TEXT, 
	correction TEXT, 
	source VARCHAR DEFAULT '' NOT NULL, 
	solicited BOOLEAN, 
	rater VARCHAR, 
	trace_id VARCHAR, 
	span_id VARCHAR, 
	trace_flags INTEGER NOT NULL, 
	response_id VARCHAR, 
	conversation_id VARCHAR, 
	turn_id VARCHAR, 
	at FLOAT, 
	dims JSON, 
	said JSON, 
	resolved BOOLEAN NOT NULL, 
	time FLOAT NOT NULL, 
	received FLOAT NOT NULL, 
	PRIMARY KEY (id)
);
INSERT INTO "votes" VALUES('f1',2,'change','user_thumbs',0.0,'fail','negative','["inaccurate"]','no: it''s ''older''',NULL,'end_user',NULL,NULL,'0af7651916cd43dd8448eb211c80319c','b7ad6b7169203331',1,NULL,NULL,'0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331',1794999940.0,'{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","service.name":"chat"}',NULL,1,1795000000.0,1795000000.0);
INSERT INTO "votes" VALUES('f2',2,'retract','user_thumbs',0.0,'fail','negative','[]',NULL,NULL,'end_user',NULL,NULL,'0af7651916cd43dd8448eb211c80319c','b7ad6b7169203332',1,NULL,NULL,'0af7651916cd43dd8448eb211c80319c-b7ad6b7169203332',1794999940.0,'{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","service.name":"chat"}',NULL,1,1795000000.0,1795000000.0);
INSERT INTO "votes" VALUES('f3',1,'add','user_thumbs',1.0,'pass','positive','[]',NULL,NULL,'end_user',NULL,NULL,'11111111111111111111111111111111','2222222222222222',1,NULL,NULL,NULL,1794999940.0,'{"backspan.index.version":"","backspan.segment":"","deployment.environment.name":"prod","feature_flag.result.variant":"","gen_ai.prompt.name":"support","gen_ai.prompt.version":"7","gen_ai.request.model":"m-1","service.name":"chat"}',NULL,1,1795000000.0,1795000000.0);
CREATE TABLE windows (
	chart VARCHAR NOT NULL, 
	start FLOAT NOT NULL, 
	cohort VARCHAR NOT NULL, 
	n FLOAT NOT NULL, 
	bad FLOAT NOT NULL, 
	PRIMARY KEY (chart, start, cohort)
);
CREATE INDEX calls_ended ON calls (ended);
CREATE INDEX calls_turn ON calls (turn_id);
CREATE INDEX calls_response ON calls (response_id);
CREATE INDEX turns_counted ON turns (counted, touched);
CREATE INDEX turns_started ON turns (started);
CREATE INDEX turns_session ON turns (conversation_id);
CREATE INDEX turns_trace ON turns (trace_id);
CREATE INDEX turns_ended ON turns (ended);
CREATE INDEX votes_conversation ON votes (conversation_id);
CREATE INDEX votes_time ON votes (time);
CREATE INDEX votes_trace ON votes (trace_id);
CREATE INDEX votes_response ON votes (response_id);
CREATE INDEX votes_turn ON votes (turn_id);
CREATE UNIQUE INDEX vote_log_revision ON vote_log (id, version);
CREATE INDEX vote_log_counted ON vote_log (counted, received);
CREATE INDEX outbox_emitted ON outbox (emitted);
CREATE INDEX alerts_open ON alerts (chart, cohort, cleared);
COMMIT;
