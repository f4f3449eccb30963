package org.elasticsearch.plugins;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.ServiceLoader;
import java.util.Set;

import org.elasticsearch.Build;
import org.elasticsearch.env.Environment;

/** Plugins found on the class path: Maven Central has their jars, not the modules/ folders of a distribution. */
public final class ClasspathPlugins extends PluginsService {

    private final List<LoadedPlugin> plugins;

    public ClasspathPlugins(Environment environment, List<String> classNames) {
        super(environment.settings(), environment.configDir(), new PluginsLoader(Set.of(), Set.of(), Map.of()));
        this.plugins = classNames.stream().map(name -> load(name, environment)).toList();
        loadExtensions(plugins);
    }

    @Override
    protected List<LoadedPlugin> plugins() {
        return plugins;
    }

    /** All plugins share one class loader: ask it once, or every service would appear once per plugin. */
    @Override
    public <T> List<? extends T> loadServiceProviders(Class<T> service) {
        List<T> providers = new ArrayList<>();
        ServiceLoader.load(service, ClasspathPlugins.class.getClassLoader()).forEach(providers::add);
        return providers;
    }

    private static LoadedPlugin load(String className, Environment environment) {
        try {
            Class<? extends Plugin> type = Class.forName(className).asSubclass(Plugin.class);
            Plugin plugin = loadPlugin(type, environment.settings(), environment.configDir());
            return new LoadedPlugin(descriptor(className), plugin, type.getClassLoader());
        } catch (ClassNotFoundException missing) {
            throw new IllegalStateException("no plugin " + className + " on the class path", missing);
        }
    }

    /** Read from text, because the constructor of PluginDescriptor differs between 8.19 and 9. */
    private static PluginDescriptor descriptor(String className) {
        String text = String.join("\n", "name=" + className, "classname=" + className, "version=test",
            "description=from the class path", "java.version=21", "elasticsearch.version=" + Build.current().version());
        try (var stream = new ByteArrayInputStream(text.getBytes(StandardCharsets.UTF_8))) {
            return PluginDescriptor.readInternalDescriptorFromStream(stream);
        } catch (IOException impossible) {
            throw new UncheckedIOException(impossible);
        }
    }
}
