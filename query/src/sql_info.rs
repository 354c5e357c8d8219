//! What Flight SQL clients ask about the server itself. JDBC tools fail on lists that are missing, so none is.

use crate::{engine::Limits, ticket::TEXT_BYTES_MAX};
use arrow_flight::{
    error::FlightError,
    sql::{
        Nullable, Searchable, SqlInfo, SqlNullOrdering, SqlOuterJoinsSupportLevel,
        SqlSupportedCaseSensitivity, SqlSupportedGroupBy, SqlSupportedResultSetConcurrency,
        SqlSupportedResultSetType, SqlSupportedSubqueries, SqlSupportedTransaction, SqlSupportedUnions,
        SqlTransactionIsolationLevel, SupportedSqlGrammar, XdbcDataType, XdbcDatetimeSubcode,
        metadata::{
            SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfo, XdbcTypeInfoData, XdbcTypeInfoDataBuilder,
        },
    },
};
use datafusion::arrow::{
    array::{ArrayRef, Int32Array, RecordBatch, StringArray},
    datatypes::{DataType, Field, Schema, SchemaRef},
    error::ArrowError,
};
use std::sync::Arc;

/// FlightSql's "none" for SqlInfo FLIGHT_SQL_SERVER_TRANSACTION.
const NO_TRANSACTIONS: i32 = SqlSupportedTransaction::None as i32;

pub fn sql_info(limits: &Limits) -> Result<SqlInfoData, FlightError> {
    use SqlInfo as I;
    let mut info = SqlInfoDataBuilder::new();
    info.append(I::FlightSqlServerName, "Screenline");
    info.append(I::FlightSqlServerVersion, env!("CARGO_PKG_VERSION"));
    info.append(I::FlightSqlServerArrowVersion, "1.3");
    info.append(I::FlightSqlServerReadOnly, true);
    info.append(I::FlightSqlServerSql, true);
    info.append(I::FlightSqlServerSubstrait, false);
    info.append(I::FlightSqlServerTransaction, NO_TRANSACTIONS);
    info.append(I::FlightSqlServerCancel, true);
    info.append(I::FlightSqlServerBulkIngestion, false);
    info.append(I::FlightSqlServerIngestTransactionsSupported, false);
    let timeout_ms = i32::try_from(limits.timeout.as_millis()).unwrap_or(i32::MAX);
    info.append(I::FlightSqlServerStatementTimeout, timeout_ms);
    info.append(I::FlightSqlServerTransactionTimeout, 0);
    for no in [I::SqlDdlCatalog, I::SqlDdlSchema, I::SqlDdlTable] {
        info.append(no, false);
    }
    info.append(I::SqlIdentifierCase, SqlSupportedCaseSensitivity::SqlCaseSensitivityLowercase as i32);
    info.append(I::SqlIdentifierQuoteChar, "\"");
    info.append(
        I::SqlQuotedIdentifierCase,
        SqlSupportedCaseSensitivity::SqlCaseSensitivityCaseInsensitive as i32,
    );
    info.append(I::SqlAllTablesAreSelectable, true);
    info.append(I::SqlNullOrdering, SqlNullOrdering::SqlNullsSortedHigh as i32);
    info.append(I::SqlKeywords, KEYWORDS);
    info.append(I::SqlNumericFunctions, NUMERIC_FUNCTIONS);
    info.append(I::SqlStringFunctions, STRING_FUNCTIONS);
    info.append(I::SqlSystemFunctions, SYSTEM_FUNCTIONS);
    info.append(I::SqlDatetimeFunctions, DATETIME_FUNCTIONS);
    info.append(I::SqlSearchStringEscape, "\\");
    info.append(I::SqlExtraNameCharacters, "");
    for yes in [
        I::SqlSupportsColumnAliasing,
        I::SqlNullPlusNullIsNull,
        I::SqlSupportsTableCorrelationNames,
        I::SqlSupportsExpressionsInOrderBy,
        I::SqlSupportsOrderByUnrelated,
        I::SqlSupportsLikeEscapeClause,
        I::SqlCorrelatedSubqueriesSupported,
        I::SqlCatalogAtStart,
    ] {
        info.append(yes, true);
    }
    for no in [
        I::SqlSupportsDifferentTableCorrelationNames,
        I::SqlSupportsNonNullableColumns,
        I::SqlSupportsIntegrityEnhancementFacility,
        I::SqlSelectForUpdateSupported,
        I::SqlStoredProceduresSupported,
        I::SqlMaxRowSizeIncludesBlobs,
        I::SqlTransactionsSupported,
        I::SqlDataDefinitionCausesTransactionCommit,
        I::SqlDataDefinitionsInTransactionsIgnored,
        I::SqlBatchUpdatesSupported,
        I::SqlSavepointsSupported,
        I::SqlNamedParametersSupported,
        I::SqlLocatorsUpdateCopy,
        I::SqlStoredFunctionsUsingCallSyntaxSupported,
    ] {
        info.append(no, false);
    }
    info.append(I::SqlSupportedGroupBy, bit(SqlSupportedGroupBy::SqlGroupByBeyondSelect as i32));
    info.append(I::SqlSupportedGrammar, bit(SupportedSqlGrammar::SqlMinimumGrammar as i32));
    info.append(I::SqlAnsi92SupportedLevel, 0);
    info.append(I::SqlOuterJoinsSupportLevel, bit(SqlOuterJoinsSupportLevel::SqlFullOuterJoins as i32));
    info.append(I::SqlSchemaTerm, "schema");
    info.append(I::SqlProcedureTerm, "procedure");
    info.append(I::SqlCatalogTerm, "catalog");
    info.append(I::SqlSchemasSupportedActions, 0);
    info.append(I::SqlCatalogsSupportedActions, 0);
    info.append(I::SqlSupportedPositionedCommands, 0);
    let subqueries = [
        SqlSupportedSubqueries::SqlSubqueriesInComparisons,
        SqlSupportedSubqueries::SqlSubqueriesInExists,
        SqlSupportedSubqueries::SqlSubqueriesInIns,
    ];
    info.append(I::SqlSupportedSubqueries, subqueries.iter().fold(0, |mask, &one| mask | bit(one as i32)));
    let unions = bit(SqlSupportedUnions::SqlUnion as i32) | bit(SqlSupportedUnions::SqlUnionAll as i32);
    info.append(I::SqlSupportedUnions, unions);
    // Zero: no limit, or none that is known.
    for unlimited in [
        I::SqlMaxBinaryLiteralLength,
        I::SqlMaxCharLiteralLength,
        I::SqlMaxColumnNameLength,
        I::SqlMaxColumnsInGroupBy,
        I::SqlMaxColumnsInIndex,
        I::SqlMaxColumnsInOrderBy,
        I::SqlMaxColumnsInSelect,
        I::SqlMaxColumnsInTable,
        I::SqlMaxConnections,
        I::SqlMaxCursorNameLength,
        I::SqlMaxIndexLength,
        I::SqlDbSchemaNameLength,
        I::SqlMaxProcedureNameLength,
        I::SqlMaxCatalogNameLength,
        I::SqlMaxRowSize,
        I::SqlMaxTableNameLength,
        I::SqlMaxTablesInSelect,
        I::SqlMaxUsernameLength,
    ] {
        info.append(unlimited, 0i64);
    }
    info.append(I::SqlMaxStatementLength, TEXT_BYTES_MAX as i64);
    info.append(I::SqlMaxStatements, 0i64);
    info.append(I::SqlDefaultTransactionIsolation, SqlTransactionIsolationLevel::SqlTransactionNone as i64);
    info.append(
        I::SqlSupportedTransactionsIsolationLevels,
        bit(SqlTransactionIsolationLevel::SqlTransactionNone as i32),
    );
    info.append(
        I::SqlSupportedResultSetTypes,
        bit(SqlSupportedResultSetType::SqlResultSetTypeForwardOnly as i32),
    );
    let read_only = bit(SqlSupportedResultSetConcurrency::SqlResultSetConcurrencyReadOnly as i32);
    info.append(I::SqlSupportedConcurrenciesForResultSetForwardOnly, read_only);
    for none in [
        I::SqlSupportedConcurrenciesForResultSetUnspecified,
        I::SqlSupportedConcurrenciesForResultSetScrollSensitive,
        I::SqlSupportedConcurrenciesForResultSetScrollInsensitive,
    ] {
        info.append(none, 0);
    }
    info.build()
}

pub fn xdbc_types() -> Result<XdbcTypeInfoData, FlightError> {
    let mut types = XdbcTypeInfoDataBuilder::new();
    let base = |name: &str, kind: XdbcDataType, size: i32| XdbcTypeInfo {
        type_name: name.into(),
        data_type: kind,
        column_size: Some(size),
        nullable: Nullable::NullabilityNullable,
        searchable: Searchable::Full,
        local_type_name: Some(name.into()),
        sql_data_type: kind,
        ..XdbcTypeInfo::default()
    };
    let number = |name, kind, size| XdbcTypeInfo {
        unsigned_attribute: Some(false),
        auto_increment: Some(false),
        num_prec_radix: Some(10),
        ..base(name, kind, size)
    };
    let quoted = |info: XdbcTypeInfo| XdbcTypeInfo {
        literal_prefix: Some("'".into()),
        literal_suffix: Some("'".into()),
        case_sensitive: true,
        ..info
    };
    types.append(base("BOOLEAN", XdbcDataType::XdbcBit, 1));
    types.append(number("INTEGER", XdbcDataType::XdbcInteger, 10));
    types.append(number("BIGINT", XdbcDataType::XdbcBigint, 19));
    types.append(number("DOUBLE", XdbcDataType::XdbcDouble, 15));
    types.append(quoted(base("VARCHAR", XdbcDataType::XdbcVarchar, i32::MAX)));
    types.append(base("BYTEA", XdbcDataType::XdbcVarbinary, i32::MAX));
    types.append(XdbcTypeInfo {
        datetime_subcode: Some(XdbcDatetimeSubcode::XdbcSubcodeTimestamp),
        ..quoted(base("TIMESTAMP", XdbcDataType::XdbcTimestamp, 29))
    });
    types.build()
}

/// Schema of CommandGetPrimaryKeys' answer, in the order of the specification.
pub fn primary_keys_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("catalog_name", DataType::Utf8, true),
        Field::new("db_schema_name", DataType::Utf8, true),
        Field::new("table_name", DataType::Utf8, false),
        Field::new("column_name", DataType::Utf8, false),
        Field::new("key_name", DataType::Utf8, true),
        Field::new("key_sequence", DataType::Int32, false),
    ]))
}

/// The natural key of one table; `catalog`, `schema` and `table` as they are called here.
pub fn primary_keys(
    catalog: &str,
    schema: &str,
    table: &str,
    key: &[&str],
) -> Result<RecordBatch, ArrowError> {
    let all = |text: &str| -> ArrayRef { Arc::new(StringArray::from(vec![text; key.len()])) };
    let name = format!("{table}_key");
    RecordBatch::try_new(
        primary_keys_schema(),
        vec![
            all(catalog),
            all(schema),
            all(table),
            Arc::new(StringArray::from(key.to_vec())),
            all(&name),
            Arc::new(Int32Array::from_iter_values((1..).take(key.len()))),
        ],
    )
}

/// Schema of the answers about foreign keys, of which there are none to tell.
pub fn foreign_keys_schema() -> SchemaRef {
    let text = |name, nullable| Field::new(name, DataType::Utf8, nullable);
    Arc::new(Schema::new(vec![
        text("pk_catalog_name", true),
        text("pk_db_schema_name", true),
        text("pk_table_name", false),
        text("pk_column_name", false),
        text("fk_catalog_name", true),
        text("fk_db_schema_name", true),
        text("fk_table_name", false),
        text("fk_column_name", false),
        Field::new("key_sequence", DataType::Int32, false),
        text("fk_key_name", true),
        text("pk_key_name", true),
        Field::new("update_rule", DataType::UInt8, false),
        Field::new("delete_rule", DataType::UInt8, false),
    ]))
}

/// Flight SQL's bitmasks number their bits by the enum's values.
fn bit(value: i32) -> i32 {
    1 << value
}

const KEYWORDS: &[&str] = &[
    "ALL",
    "AND",
    "AS",
    "ASC",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CROSS",
    "DESC",
    "DESCRIBE",
    "DISTINCT",
    "ELSE",
    "END",
    "EXCEPT",
    "EXISTS",
    "EXPLAIN",
    "FALSE",
    "FILTER",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "ILIKE",
    "IN",
    "INNER",
    "INTERSECT",
    "INTERVAL",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "NOT",
    "NULL",
    "OFFSET",
    "ON",
    "OR",
    "ORDER",
    "OUTER",
    "OVER",
    "PARTITION",
    "QUALIFY",
    "RIGHT",
    "SELECT",
    "SHOW",
    "THEN",
    "TIMESTAMP",
    "TRUE",
    "UNION",
    "USING",
    "VALUES",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
];
const NUMERIC_FUNCTIONS: &[&str] = &[
    "abs", "acos", "asin", "atan", "atan2", "ceil", "cos", "degrees", "exp", "floor", "ln", "log", "log10",
    "log2", "pi", "power", "radians", "random", "round", "signum", "sin", "sqrt", "tan", "trunc",
];
const STRING_FUNCTIONS: &[&str] = &[
    "ascii",
    "btrim",
    "character_length",
    "chr",
    "concat",
    "concat_ws",
    "left",
    "lower",
    "lpad",
    "ltrim",
    "octet_length",
    "position",
    "repeat",
    "replace",
    "reverse",
    "right",
    "rpad",
    "rtrim",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "to_hex",
    "translate",
    "trim",
    "upper",
];
const SYSTEM_FUNCTIONS: &[&str] = &["arrow_cast", "arrow_typeof", "coalesce", "nullif", "version"];
const DATETIME_FUNCTIONS: &[&str] = &[
    "current_date",
    "current_time",
    "date_bin",
    "date_part",
    "date_trunc",
    "extract",
    "from_unixtime",
    "make_date",
    "now",
    "time_bucket",
    "to_char",
    "to_date",
    "to_timestamp",
    "to_unixtime",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answers_build() {
        let limits = crate::hostile::limits();
        let all = sql_info(&limits).unwrap().record_batch([]).unwrap();
        assert!(80 < all.num_rows());
        assert_eq!(xdbc_types().unwrap().record_batch(None).unwrap().num_rows(), 7);
        assert_eq!(primary_keys("c", "s", "t", &["a", "b"]).unwrap().num_rows(), 2);
        assert_eq!(foreign_keys_schema().fields().len(), 13);
    }
}
