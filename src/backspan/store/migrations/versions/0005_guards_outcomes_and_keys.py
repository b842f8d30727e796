"""guards outcomes and keys."""

import sqlalchemy as sa
from alembic import op

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Change the tables."""
    op.create_table('api_keys',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('label', sa.String(), server_default='', nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('scopes', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('created', sa.Float(), nullable=False),
    sa.Column('revoked', sa.Float(), nullable=True),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_table('asks',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('stratum', sa.String(), nullable=False),
    sa.Column('rater', sa.String(), nullable=True),
    sa.Column('trace_id', sa.String(), nullable=True),
    sa.Column('span_id', sa.String(), nullable=True),
    sa.Column('response_id', sa.String(), nullable=True),
    sa.Column('asked', sa.Boolean(), nullable=False),
    sa.Column('probability', sa.Float(), nullable=False),
    sa.Column('time', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('asks_rater', 'asks', ['rater', 'time'], unique=False)
    op.create_index('asks_stratum', 'asks', ['stratum', 'time'], unique=False)
    op.create_index('asks_time', 'asks', ['time'], unique=False)
    op.create_index('asks_trace', 'asks', ['trace_id'], unique=False)
    op.create_table('audit',
    sa.Column('seq', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), autoincrement=False, nullable=False),
    sa.Column('time', sa.Float(), nullable=False),
    sa.Column('who', sa.String(), nullable=False),
    sa.Column('what', sa.String(), nullable=False),
    sa.Column('details', sa.JSON(none_as_null=True), nullable=True),
    sa.PrimaryKeyConstraint('seq')
    )
    op.create_index('audit_time', 'audit', ['time'], unique=False)
    op.create_table('erased',
    sa.Column('rater', sa.String(), nullable=False),
    sa.Column('time', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('rater')
    )
    op.create_table('estimates',
    sa.Column('turn_id', sa.String(), nullable=False),
    sa.Column('value', sa.Float(), nullable=False),
    sa.Column('weights', sa.String(), nullable=False),
    sa.Column('signals', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('ended', sa.Float(), nullable=False),
    sa.Column('time', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('turn_id')
    )
    op.create_index('estimates_ended', 'estimates', ['ended'], unique=False)
    op.create_table('evidence',
    sa.Column('turn_id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('rule', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('value', sa.Float(), nullable=False),
    sa.Column('vote_id', sa.String(), nullable=True),
    sa.Column('found', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('time', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('turn_id', 'name')
    )
    op.create_index('evidence_time', 'evidence', ['time'], unique=False)
    op.create_table('idempotency',
    sa.Column('key', sa.String(), nullable=False),
    sa.Column('digest', sa.String(), nullable=False),
    sa.Column('answer', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('time', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('key')
    )
    op.create_index('idempotency_time', 'idempotency', ['time'], unique=False)
    op.create_table('outcomes',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('version', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('value', sa.Float(), nullable=True),
    sa.Column('label', sa.String(), nullable=True),
    sa.Column('polarity', sa.String(), nullable=False),
    sa.Column('assisted', sa.Boolean(), nullable=True),
    sa.Column('join_key', sa.String(), nullable=True),
    sa.Column('waiting', sa.Boolean(), nullable=False),
    sa.Column('vote_id', sa.String(), nullable=True),
    sa.Column('trace_id', sa.String(), nullable=True),
    sa.Column('span_id', sa.String(), nullable=True),
    sa.Column('time', sa.Float(), nullable=False),
    sa.Column('received', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('outcomes_time', 'outcomes', ['time'], unique=False)
    op.create_index('outcomes_vote', 'outcomes', ['vote_id'], unique=False)
    op.create_index('outcomes_waiting', 'outcomes', ['waiting', 'join_key'], unique=False)
    op.create_table('skips',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('name', sa.String(), nullable=False),
    sa.Column('rater', sa.String(), nullable=True),
    sa.Column('received', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('skips_received', 'skips', ['received'], unique=False)
    op.create_table('vote_flags',
    sa.Column('id', sa.String(), nullable=False),
    sa.Column('rule', sa.String(), nullable=False),
    sa.Column('state', sa.String(), nullable=False),
    sa.Column('taken', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
    sa.Column('since', sa.Float(), nullable=False),
    sa.PrimaryKeyConstraint('id')
    )
    op.create_index('vote_flags_state', 'vote_flags', ['state', 'since'], unique=False)
    op.add_column('calls', sa.Column('join_key', sa.String(), server_default='', nullable=False))
    op.add_column('calls', sa.Column('consent', sa.String(), server_default='', nullable=False))
    op.add_column('turns', sa.Column('join_key', sa.String(), server_default='', nullable=False))
    op.add_column('turns', sa.Column('consent', sa.String(), server_default='', nullable=False))
    op.create_index('turns_join_key', 'turns', ['join_key'], unique=False)
    op.add_column('vote_log', sa.Column('details', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('vote_log', sa.Column('circumstances', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('votes', sa.Column('details', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('votes', sa.Column('circumstances', sa.JSON(none_as_null=True), nullable=True))
