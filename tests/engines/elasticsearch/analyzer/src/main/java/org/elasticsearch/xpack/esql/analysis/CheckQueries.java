package org.elasticsearch.xpack.esql.analysis;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Instant;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

import org.elasticsearch.TransportVersion;
import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.index.IndexMode;
import org.elasticsearch.license.XPackLicenseState;
import org.elasticsearch.xpack.esql.VerificationException;
import org.elasticsearch.xpack.esql.core.type.DataType;
import org.elasticsearch.xpack.esql.core.type.EsField;
import org.elasticsearch.xpack.esql.expression.function.EsqlFunctionRegistry;
import org.elasticsearch.xpack.esql.expression.promql.function.PromqlFunctionRegistry;
import org.elasticsearch.xpack.esql.index.EsIndex;
import org.elasticsearch.xpack.esql.index.IndexResolution;
import org.elasticsearch.xpack.esql.inference.InferenceResolution;
import org.elasticsearch.xpack.esql.parser.EsqlConfig;
import org.elasticsearch.xpack.esql.parser.EsqlParser;
import org.elasticsearch.xpack.esql.parser.ParsingException;
import org.elasticsearch.xpack.esql.plan.IndexPattern;
import org.elasticsearch.xpack.esql.plan.ResolvedSettings;
import org.elasticsearch.xpack.esql.plan.logical.LogicalPlan;
import org.elasticsearch.xpack.esql.plugin.QueryPragmas;
import org.elasticsearch.xpack.esql.session.Configuration;
import org.elasticsearch.xpack.esql.telemetry.Metrics;

/**
 * Elasticsearch's own ES|QL parser, analyzer and verifier. Each line of standard input is a query and its indices, in
 * base64, separated by a tab; an index is a line `mode pattern field:type …`. Each answer is one line: `ok` and the
 * columns (name:type, separated by tabs), or `refused` or `broken` and the message in base64.
 */
public final class CheckQueries {

    private final EsqlFunctionRegistry functions = new EsqlFunctionRegistry();

    public static void main(String[] arguments) throws IOException {
        LogConfigurator.configureESLogging();
        var checker = new CheckQueries();
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] parts = line.split("\t", -1);
            System.out.println(checker.answer(decoded(parts[0]), decoded(parts[1])));
        }
    }

    private String answer(String query, String indices) {
        try {
            LogicalPlan plan = analyzed(query, indices.lines().map(CheckQueries::index).toList());
            return plan.output().stream().map(column -> "\t" + column.name() + ":" + column.dataType().typeName())
                .collect(Collectors.joining("", "ok", ""));
        } catch (VerificationException | ParsingException refused) {
            return "refused\t" + encoded(refused.getMessage());
        } catch (RuntimeException | LinkageError broken) {
            return "broken\t" + encoded(String.valueOf(broken));
        }
    }

    private LogicalPlan analyzed(String query, List<EsIndex> indices) {
        LogicalPlan plan = new EsqlParser(new EsqlConfig(functions)).createStatement(query).plan();
        var needed = new PreAnalyzer().preAnalyze(plan);
        Map<IndexPattern, IndexResolution> sources = new HashMap<>();
        needed.indexes().keySet().forEach(pattern -> sources.put(pattern, resolved(pattern, indices)));
        Map<String, IndexResolution> lookups = new HashMap<>();
        needed.lookupIndices().forEach(pattern -> lookups.put(pattern.indexPattern(), resolved(pattern, indices)));
        var context = new AnalyzerContext(configuration(query), functions, PromqlFunctionRegistry.INSTANCE, null, sources,
            lookups, new EnrichResolution(), InferenceResolution.EMPTY, TransportVersion.current(), UnmappedResolution.DEFAULT);
        var licence = new XPackLicenseState(System::currentTimeMillis);
        return new Analyzer(context, new Verifier(new Metrics(functions, false), licence)).analyze(plan);
    }

    private static Configuration configuration(String query) {
        int most = 10_000;
        int usual = 1_000;
        return new Configuration(Instant.now(), Locale.ROOT, "user", "cluster", QueryPragmas.EMPTY, most, usual, query, false,
            Map.of(), System.nanoTime(), false, most, usual, ResolvedSettings.EMPTY, Map.of());
    }

    private static IndexResolution resolved(IndexPattern pattern, List<EsIndex> indices) {
        return indices.stream().filter(index -> index.name().equals(pattern.indexPattern())).findFirst()
            .map(IndexResolution::valid).orElseGet(() -> IndexResolution.notFound(pattern.indexPattern()));
    }

    private static EsIndex index(String line) {
        String[] words = line.split(" ");
        Map<String, EsField> fields = new TreeMap<>();
        for (int place = 2; place < words.length; place++) {
            int colon = words[place].lastIndexOf(':');
            add(fields, words[place].substring(0, colon).split("\\."), words[place].substring(colon + 1));
        }
        Map<String, List<String>> names = Map.of("", List.of(words[1]));
        return new EsIndex(words[1], fields, Map.of(words[1], IndexMode.fromString(words[0])), names, names);
    }

    private static void add(Map<String, EsField> fields, String[] path, String type) {
        Map<String, EsField> here = fields;
        for (int depth = 0; depth < path.length; depth++) {
            DataType kind = depth == path.length - 1 ? DataType.fromEs(type) : DataType.OBJECT;
            here.putIfAbsent(path[depth],
                new EsField(path[depth], kind, new TreeMap<>(), true, EsField.TimeSeriesFieldType.NONE));
            here = here.get(path[depth]).getProperties();
        }
    }

    private static String decoded(String text) {
        return new String(Base64.getDecoder().decode(text), StandardCharsets.UTF_8);
    }

    private static String encoded(String text) {
        return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
    }
}
