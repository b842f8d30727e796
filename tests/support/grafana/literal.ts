// What a dashboard of ours must be, from Grafana's own types. Each dashboard is checked as a literal, so that a key
// that Grafana does not know, or a value of the wrong kind, does not compile.
import type {
  AnnotationQuery, Dashboard, DataQuery, DataTransformerConfig, FieldConfig, GraphFieldConfig, MatcherConfig, Panel,
  RowPanel, TableFieldOptions, VariableModel,
} from '@grafana/schema';
import type { Options as BarGaugeOptions } from '@grafana/schema/dist/esm/raw/composable/bargauge/panelcfg/x/BarGaugePanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig as TimelineField, Options as TimelineOptions } from '@grafana/schema/dist/esm/raw/composable/statetimeline/panelcfg/x/StateTimelinePanelCfg_types.gen';
import type { Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { Options as TimeSeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON holds an enumeration's values, not its members.
type Json<T> = T extends string ? `${T}` : T extends Array<infer U> ? Array<Json<U>>
  : T extends object ? { [K in keyof T]: Json<T[K]> } : T;

// The types of the data sources' queries moved out of @grafana/schema with the data sources: these keys are restated.
interface PrometheusQuery extends DataQuery {
  expr: string; legendFormat?: string; instant?: boolean; range?: boolean; exemplar?: boolean;
  format?: 'time_series' | 'table' | 'heatmap';
}
interface TempoQuery extends DataQuery {
  queryType: 'traceql'; query: string; limit?: number; spss?: number; tableType?: 'traces' | 'spans' | 'raw';
  filters: never[];
}
interface LegacyAnnotation { expr: string; step: string; titleFormat: string; textFormat: string }
interface Interval { auto?: boolean; auto_count?: number; auto_min?: string }

// A graph and a table style one field in their own words; of the others there is nothing to say.
interface Styles extends GraphFieldConfig, Omit<TableFieldOptions, 'align' | 'inspect' | 'cellOptions'> { inspect?: boolean }
interface Option { id: keyof FieldConfig | `custom.${keyof Styles & string}`; value: unknown }
interface Override { matcher: Json<Pick<MatcherConfig<string>, 'id' | 'options'>>; properties: Option[] }
interface Source<TCustom> { defaults: Json<Omit<FieldConfig, 'custom'>> & { custom?: TCustom }; overrides: Override[] }

interface Shown<TType, TOptions, TCustom>
  extends Omit<Json<Panel>, 'type' | 'options' | 'fieldConfig' | 'targets' | 'transformations' | 'title' | 'description'> {
  type: TType; options: Json<TOptions>; fieldConfig: Source<Json<Partial<TCustom>>>;
  targets: Array<PrometheusQuery | TempoQuery>; transformations?: DataTransformerConfig[];
  title: string; description: string;
}
type AnyPanel =
  | Shown<'timeseries', TimeSeriesOptions, GraphFieldConfig> | Shown<'stat', StatOptions, object>
  | Shown<'bargauge', Partial<BarGaugeOptions>, object> | Shown<'table', TableOptions, TableFieldOptions>
  | Shown<'state-timeline', TimelineOptions, TimelineField>;

export interface Literal extends Omit<Json<Dashboard>, 'panels' | 'annotations' | 'templating'> {
  panels: Array<AnyPanel | Json<RowPanel>>;
  annotations: { list: Array<Json<Omit<AnnotationQuery, 'target'>> & LegacyAnnotation & { target: PrometheusQuery }> };
  templating: { list: Array<Json<VariableModel> & Interval> };
}
