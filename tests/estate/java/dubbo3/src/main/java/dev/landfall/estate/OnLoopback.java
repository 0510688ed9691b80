package dev.landfall.estate;

import org.apache.dubbo.common.URL;
import org.apache.dubbo.rpc.cluster.Configurator;
import org.apache.dubbo.rpc.cluster.ConfiguratorFactory;

/**
 * Keeps a provider on 127.0.0.1, which Dubbo does not offer: told to use that address, it listens on all of them and
 * publishes the one of a network card.
 *
 * <p>So the provider is told {@link #BIND}, which is the same address as one decimal number and is not recognised; here, in
 * the place meant for adding to the provider's URL, the published address is put right.
 */
public class OnLoopback implements ConfiguratorFactory {
    static final String BIND = "2130706433";

    @Override
    public Configurator getConfigurator(URL provider) {
        return new Configurator() {
            @Override
            public URL getUrl() {
                return provider;
            }

            @Override
            public URL configure(URL url) {
                return BIND.equals(url.getHost()) ? url.setHost("127.0.0.1") : url;
            }
        };
    }
}
