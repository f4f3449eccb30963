package org.elasticsearch.node;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;

import org.elasticsearch.common.logging.LogConfigurator;
import org.elasticsearch.common.settings.Settings;
import org.elasticsearch.env.Environment;
import org.elasticsearch.plugins.ClasspathPlugins;
import org.elasticsearch.plugins.PluginsLoader;
import org.elasticsearch.plugins.PluginsService;

/**
 * One Elasticsearch node with ES|QL on loopback: SingleNode HOME HTTP_PORT. It stops when its standard input ends,
 * so it never outlives the process that started it. It lives in this package because NodeConstruction is not public.
 */
public final class SingleNode {

    private static final List<String> PLUGINS = List.of(
        "org.elasticsearch.transport.netty4.Netty4Plugin",
        "org.elasticsearch.xpack.core.XPackPlugin",
        "org.elasticsearch.xpack.esql.plugin.EsqlPlugin",
        "org.elasticsearch.xpack.kql.KqlPlugin");

    public static void main(String[] arguments) throws Exception {
        Settings settings = settings(Path.of(arguments[0]), Integer.parseInt(arguments[1]));
        LogConfigurator.configureESLogging();
        LogConfigurator.configureWithoutConfig(settings);
        Environment environment = InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), null, () -> "ewdetect");
        try (Node node = new Node(NodeConstruction.prepareConstruction(environment, null, new Services(), true))) {
            node.start();
            waitForEndOfInput();
        }
        System.exit(0);
    }

    private static void waitForEndOfInput() throws java.io.IOException {
        int read = System.in.read();
        while (read >= 0) {
            read = System.in.read();
        }
    }

    private static Settings settings(Path home, int port) {
        return Settings.builder()
            .put("path.home", home)
            .put("cluster.name", "ewdetect-tests")
            .put("node.name", "ewdetect")
            .put("node.processors", 2)
            .put("network.host", "127.0.0.1")
            .put("http.port", port)
            .put("transport.port", "0")
            .put("discovery.type", "single-node")
            .put("xpack.security.enabled", false)
            // A full disk of the test machine must not turn indices read-only.
            .put("cluster.routing.allocation.disk.threshold_enabled", false)
            .build();
    }

    private static final class Services extends NodeServiceProvider {
        @Override
        PluginsService newPluginService(Environment environment, PluginsLoader loader) {
            return new ClasspathPlugins(environment, PLUGINS);
        }
    }
}
