import java.sql.Connection;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.Instant;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.Timer;
import java.util.TimerTask;

/** What the JDBC driver and tools like DBeaver call: one argument, the JDBC URL. Run by jdbc.py. */
public class Jdbc {
    interface Check {
        void make(Connection connection) throws Exception;
    }

    static String url;
    static int failed;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        check("a statement is answered", Jdbc::aStatement);
        check("parameters are bound, and the statement is used again", Jdbc::parameters);
        check("instants are in UTC and to the nanosecond", Jdbc::instants);
        check("the catalogue lists tables by both of their types", Jdbc::catalogue);
        check("columns and keys are described", Jdbc::columns);
        check("no list that a tool asks for is missing", Jdbc::lists);
        check("an empty answer has its columns", Jdbc::empty);
        check("a large answer is read to its end", Jdbc::large);
        check("an error has the server's words, and the connection lives on", Jdbc::errors);
        check("a statement is cancelled", Jdbc::cancelled);
        check("nothing is written", Jdbc::writes);
        System.exit(failed == 0 ? 0 : 1);
    }

    static void check(String promise, Check check) {
        boolean made = false;
        try (Connection connection = DriverManager.getConnection(url)) {
            check.make(connection);
            made = true;
        } catch (Throwable error) {
            // The driver may lose a buffer of an answer that is cancelled, and says so when the connection is closed.
            made &= error.toString().contains("Failed to clean up client resources");
            if (!made) {
                failed++;
                System.out.println("FAILED   " + promise + ": " + error);
            }
        }
        if (made) {
            System.out.println("ok       " + promise);
        }
    }

    static void that(boolean condition, Object words) {
        if (!condition) {
            throw new AssertionError(words);
        }
    }

    static Set<String> column(ResultSet rows, String name) throws SQLException {
        Set<String> found = new HashSet<>();
        try (rows) {
            while (rows.next()) {
                found.add(rows.getString(name));
            }
        }
        return found;
    }

    static void aStatement(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT count(*) AS n, avg(value) AS mean FROM reading");
            that(rows.next() && 0 < rows.getLong("n") && !Double.isNaN(rows.getDouble("mean")), "no readings");
            that(rows.getMetaData().getColumnType(1) == Types.BIGINT, rows.getMetaData().getColumnTypeName(1));
            // Again in the same statement: the one before is closed at the server.
            that(statement.executeQuery("SELECT 1").next(), "no row");
        }
    }

    static void parameters(Connection connection) throws SQLException {
        String sensor;
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT sensor FROM reading LIMIT 1");
            rows.next();
            sensor = rows.getString(1);
        }
        String sql = "SELECT count(*) FROM reading WHERE sensor = ? AND value >= ? AND quality >= ?";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            List<Long> counts = new ArrayList<>();
            for (String name : List.of(sensor, "' OR 1 = 1 --", sensor)) {
                statement.setString(1, name);
                statement.setDouble(2, -1e300);
                statement.setInt(3, 0);
                ResultSet rows = statement.executeQuery();
                rows.next();
                counts.add(rows.getLong(1));
            }
            that(0 < counts.get(0) && counts.get(1) == 0 && counts.get(2) >= counts.get(0), counts);
        }
    }

    static void instants(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            String instant = "2024-05-06T07:08:09.123456789Z";
            ResultSet rows = statement.executeQuery("SELECT timestamp '" + instant + "' AS time");
            rows.next();
            Timestamp found = rows.getTimestamp("time");
            that(Math.abs(found.toInstant().toEpochMilli() - Instant.parse(instant).toEpochMilli()) <= 1, found);
        }
    }

    static void catalogue(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        Set<String> types = column(data.getTableTypes(), "TABLE_TYPE");
        that(types.containsAll(Set.of("TABLE", "BASE TABLE")), types);
        for (String[] kinds : new String[][] {null, {"TABLE"}, {"BASE TABLE"}, {"TABLE", "VIEW"}}) {
            Set<String> tables = column(data.getTables(null, null, "%", kinds), "TABLE_NAME");
            that(tables.containsAll(Set.of("reading", "event", "rollup_1h", "sensor")), tables);
        }
        that(column(data.getTables(null, null, "%", new String[] {"VIEW"}), "TABLE_NAME").isEmpty(), "views");
        that(column(data.getCatalogs(), "TABLE_CAT").equals(Set.of("screenline")), "catalogs");
        that(column(data.getSchemas(), "TABLE_SCHEM").contains("public"), "schemas");
    }

    static void columns(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        Set<String> names = column(data.getColumns(null, null, "reading", "%"), "COLUMN_NAME");
        that(names.containsAll(Set.of("time", "sensor", "metric", "value", "unit", "quality")), names);
        Set<String> key = column(data.getPrimaryKeys(null, null, "reading"), "COLUMN_NAME");
        that(key.equals(Set.of("time", "sensor", "metric")), key);
        that(column(data.getImportedKeys(null, null, "reading"), "PKTABLE_NAME").isEmpty(), "imported keys");
        that(column(data.getExportedKeys(null, null, "reading"), "PKTABLE_NAME").isEmpty(), "exported keys");
        ResultSet crossed = data.getCrossReference(null, null, "reading", null, null, "event");
        that(column(crossed, "PKTABLE_NAME").isEmpty(), "cross reference");
    }

    static void lists(Connection connection) throws SQLException {
        DatabaseMetaData data = connection.getMetaData();
        that(data.getDatabaseProductName().equals("Screenline"), data.getDatabaseProductName());
        that(data.isReadOnly() && !data.supportsTransactions(), "read only, without transactions");
        that(data.getIdentifierQuoteString().equals("\""), data.getIdentifierQuoteString());
        for (String list : List.of(data.getSQLKeywords(), data.getNumericFunctions(), data.getStringFunctions(),
                data.getTimeDateFunctions())) {
            that(!list.isEmpty(), "an empty list");
        }
        that(data.getSystemFunctions() != null && data.getSearchStringEscape() != null, "missing");
    }

    static void empty(Connection connection) throws SQLException {
        // Of a plain statement the driver itself counts the columns twice (apache/arrow-java#44).
        String sql = "SELECT time, value FROM reading WHERE sensor = 'nobody'";
        try (PreparedStatement statement = connection.prepareStatement(sql)) {
            ResultSet rows = statement.executeQuery();
            that(rows.getMetaData().getColumnCount() == 2, rows.getMetaData().getColumnCount());
            that(!rows.next(), "a row");
        }
    }

    static void large(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery(
                "SELECT a.* FROM rollup_5m AS a CROSS JOIN (SELECT 1 FROM reading LIMIT 10) AS b LIMIT 100000");
            int count = 0;
            while (rows.next()) {
                count++;
            }
            that(count == 100_000, count);
        }
    }

    static void errors(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            try {
                statement.executeQuery("SELECT colour FROM reading").next();
                that(false, "was answered");
            } catch (SQLException error) {
                that(error.getMessage().contains("No field named colour"), error);
            }
            that(statement.executeQuery("SELECT 1").next(), "no row");
        }
    }

    static void cancelled(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            ResultSet rows = statement.executeQuery("SELECT a.time, b.value FROM reading AS a CROSS JOIN reading AS b");
            new Timer(true).schedule(new TimerTask() {
                public void run() {
                    try {
                        statement.cancel();
                    } catch (SQLException error) {
                        System.out.println("         " + error);
                    }
                }
            }, 500);
            long began = System.nanoTime();
            try {
                while (rows.next()) {
                    that(System.nanoTime() - began < 10_000_000_000L, "rows still come");
                }
                that(false, "ended as if it were complete");
            } catch (SQLException | RuntimeException error) {
                that(error.toString().toLowerCase().contains("cancel"), error);
            }
        }
    }

    static void writes(Connection connection) throws SQLException {
        try (Statement statement = connection.createStatement()) {
            for (String sql : List.of("DELETE FROM reading", "INSERT INTO sensor (id) VALUES ('x')", "DROP TABLE reading")) {
                try {
                    statement.execute(sql);
                    that(false, sql + " was done");
                } catch (SQLException error) {
                    that(error.getMessage() != null, sql);
                }
            }
        }
    }
}
