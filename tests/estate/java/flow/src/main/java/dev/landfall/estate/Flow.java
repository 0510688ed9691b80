package dev.landfall.estate;

import com.netflix.appinfo.DataCenterInfo;
import com.netflix.appinfo.EurekaAccept;
import com.netflix.appinfo.InstanceInfo;
import com.netflix.appinfo.InstanceInfo.InstanceStatus;
import com.netflix.appinfo.InstanceInfo.PortType;
import com.netflix.appinfo.LeaseInfo;
import com.netflix.appinfo.MyDataCenterInfo;
import com.netflix.discovery.shared.Application;
import com.netflix.discovery.shared.Applications;
import com.netflix.discovery.shared.resolver.DefaultEndpoint;
import com.netflix.discovery.shared.transport.EurekaHttpClient;
import com.netflix.discovery.shared.transport.EurekaHttpResponse;
import com.netflix.discovery.shared.transport.jersey3.Jersey3ApplicationClientFactory;
import com.netflix.discovery.shared.transport.jersey3.Jersey3ApplicationClientFactory.Jersey3ApplicationClientFactoryBuilder;
import jakarta.ws.rs.WebApplicationException;
import java.util.TreeMap;
import java.util.function.Supplier;

/**
 * What Netflix's own integration test asks of a server, with Netflix's own transport client: every step and what it saw is one
 * line. (The client around it, with its timers and its list, runs in {@code orders} and {@code shop}.)
 *
 * <p>Two servers are the same to this client if the lines are. Lists lag behind writes in a real server, so each reading is
 * repeated until it is as expected; what it was in the end is printed.
 */
public class Flow {
    private static final String APP = "FLOW";
    private static final String ID = "h1:flow:7101";
    private static final String LISTED = "hash right " + ID + " " + APP + " h1 127.0.0.1 ";
    private static final long PATIENCE_MS = 15_000;

    public static void main(String[] arguments) throws Exception {
        String url = arguments[0];
        Jersey3ApplicationClientFactory full = factory(EurekaAccept.full);
        Jersey3ApplicationClientFactory compact = factory(EurekaAccept.compact);
        try {
            transport(full.newClient(new DefaultEndpoint(url)), compact.newClient(new DefaultEndpoint(url)));
        } finally {
            full.shutdown();
            compact.shutdown();
        }
        say("done", "");
        System.exit(0);
    }

    private static Jersey3ApplicationClientFactory factory(EurekaAccept accept) {
        Jersey3ApplicationClientFactoryBuilder builder = new Jersey3ApplicationClientFactoryBuilder();
        builder.withClientName("flow");
        builder.withConnectionTimeout(5_000);
        builder.withReadTimeout(5_000);
        builder.withMaxConnectionsPerHost(2);
        builder.withMaxTotalConnections(2);
        builder.withConnectionIdleTimeout(10_000);
        builder.withClientAccept(accept);
        return builder.build();
    }

    /** Each operation of the protocol by itself. */
    private static void transport(EurekaHttpClient client, EurekaHttpClient compact) {
        InstanceInfo info = instance(InstanceStatus.UP);
        say("heartbeat of nobody", heartbeat(() -> client.sendHeartBeat(APP, ID, info, null)));
        say("cancel of nobody", client.cancel(APP, ID).getStatusCode());
        say("instance of nobody", client.getInstance(APP, ID).getStatusCode());
        say("application of nobody", client.getApplication("NOBODY").getStatusCode());
        say("register", client.register(info).getStatusCode());
        say("heartbeat", heartbeat(() -> client.sendHeartBeat(APP, ID, info, null)));
        say("instance", until(() -> described(client.getInstance(APP, ID)), "UP"));
        say("instance by id", until(() -> described(client.getInstance(ID)), "UP"));
        say("application", until(() -> described(client.getApplication(APP)), "UP"));
        say("all", until(() -> described(client.getApplications()), LISTED + "UP"));
        say("delta", until(() -> action(client.getDelta()), "ADDED"));
        say("vip", until(() -> described(client.getVip("flow")), LISTED + "UP"));
        say("vip of nobody", client.getVip("nobody").getStatusCode());
        say("secure vip", until(() -> described(client.getSecureVip("flow-secure")), LISTED + "UP"));
        say("all, compact", until(() -> described(compact.getApplications()), LISTED + "UP"));
        say("application, compact", until(() -> described(compact.getApplication(APP)), "UP"));
        say("delta, compact", until(() -> action(compact.getDelta()), "ADDED"));
        say("vip, compact", until(() -> described(compact.getVip("flow")), LISTED + "UP"));

        say("override", client.statusUpdate(APP, ID, InstanceStatus.OUT_OF_SERVICE, info).getStatusCode());
        say("overridden", until(() -> status(client.getInstance(APP, ID)), "OUT_OF_SERVICE OUT_OF_SERVICE"));
        say("listed", until(() -> described(client.getApplications()), LISTED + "OUT_OF_SERVICE"));
        say("heartbeat then", heartbeat(() -> client.sendHeartBeat(APP, ID, info, InstanceStatus.OUT_OF_SERVICE)));
        say("register then", client.register(instance(InstanceStatus.UP)).getStatusCode());
        say("still overridden", until(() -> status(client.getInstance(APP, ID)), "OUT_OF_SERVICE OUT_OF_SERVICE"));
        say("remove override", client.deleteStatusOverride(APP, ID, info).getStatusCode());
        say("not overridden", until(() -> status(client.getInstance(APP, ID)), "UNKNOWN UNKNOWN"));
        say("heartbeat of an unknown one", heartbeat(() -> client.sendHeartBeat(APP, ID, info, null)));
        say("register again", client.register(instance(InstanceStatus.UP)).getStatusCode());
        say("up again", until(() -> status(client.getInstance(APP, ID)), "UP UNKNOWN"));
        say("register as down", client.register(instance(InstanceStatus.DOWN)).getStatusCode());
        say("down", until(() -> described(client.getApplications()), LISTED + "DOWN"));

        InstanceInfo newer = new InstanceInfo.Builder(instance(InstanceStatus.UP))
            .setLastDirtyTimestamp(System.currentTimeMillis() + 60_000).build();
        say("heartbeat of who knows more", heartbeat(() -> client.sendHeartBeat(APP, ID, newer, null)));
        say("cancel", client.cancel(APP, ID).getStatusCode());
        say("delta of the end", until(() -> action(client.getDelta()), "DELETED"));
        say("gone", until(() -> "" + client.getApplication(APP).getStatusCode(), "404"));
        say("cancel again", client.cancel(APP, ID).getStatusCode());
    }

    private static InstanceInfo instance(InstanceStatus status) {
        TreeMap<String, String> metadata = new TreeMap<>();
        metadata.put("zone", "a");
        metadata.put("management.port", "7101");
        return InstanceInfo.Builder.newBuilder()
            .setInstanceId(ID).setAppName(APP).setHostName("h1").setIPAddr("127.0.0.1").setStatus(status)
            .setPort(7101).setSecurePort(7443).enablePort(PortType.UNSECURE, true).enablePort(PortType.SECURE, true)
            .setVIPAddress("flow").setSecureVIPAddress("flow-secure")
            .setHomePageUrl("/home", null).setStatusPageUrl("/status", null).setHealthCheckUrls("/health", null, null)
            .setMetadata(metadata).setDataCenterInfo(new MyDataCenterInfo(DataCenterInfo.Name.MyOwn))
            .setLeaseInfo(LeaseInfo.Builder.newBuilder().setRenewalIntervalInSecs(30).setDurationInSecs(90).build())
            .setLastDirtyTimestamp(System.currentTimeMillis()).build();
    }

    /** Spring's server puts a page into its 404, over which this client stumbles; Netflix's own leaves it empty. */
    private static String heartbeat(Supplier<EurekaHttpResponse<InstanceInfo>> sent) {
        try {
            return "" + sent.get().getStatusCode();
        } catch (WebApplicationException page) {
            return "404 with a page";
        }
    }

    private static String described(EurekaHttpResponse<?> response) {
        Object entity = response.getEntity();
        if (entity instanceof Applications) {
            Applications all = (Applications) entity;
            Application application = all.getRegisteredApplications(APP);
            String hash = all.getAppsHashCode();
            String same = hash != null && hash.equals(all.getReconcileHashCode()) ? "hash right" : "hash wrong";
            return response.getStatusCode() + " " + same + " " + (application == null ? "nobody" : described(application));
        }
        if (entity instanceof Application) {
            return response.getStatusCode() + " " + described((Application) entity);
        }
        return response.getStatusCode() + " " + (entity == null ? "nobody" : described((InstanceInfo) entity));
    }

    private static String described(Application application) {
        return application.getInstances().isEmpty() ? "nobody" : described(application.getInstances().get(0));
    }

    /** Without what differs from run to run. */
    private static String described(InstanceInfo info) {
        return String.join(" ", info.getId(), info.getAppName(), info.getHostName(), info.getIPAddr(),
            info.getStatus().name(), "" + info.getPort(), "" + info.isPortEnabled(PortType.UNSECURE),
            "" + info.getSecurePort(), "" + info.isPortEnabled(PortType.SECURE), info.getVIPAddress(),
            info.getSecureVipAddress(), info.getHomePageUrl(), info.getStatusPageUrl(),
            // Of the two a facade carries the plain one.
            info.getHealthCheckUrls().stream().filter(check -> check.startsWith("http:")).findFirst().orElse("none"),
            new TreeMap<>(info.getMetadata()).toString(),
            info.getDataCenterInfo().getName().name());
    }

    private static String status(EurekaHttpResponse<InstanceInfo> response) {
        InstanceInfo info = response.getEntity();
        return info == null ? "" + response.getStatusCode() : info.getStatus() + " " + info.getOverriddenStatus();
    }

    /** What the delta says has become of the instance. */
    private static String action(EurekaHttpResponse<Applications> response) {
        Application application = response.getEntity() == null ? null : response.getEntity().getRegisteredApplications(APP);
        InstanceInfo info = application == null ? null : application.getByInstanceId(ID);
        return response.getStatusCode() + " " + (info == null ? "nobody" : info.getActionType().name());
    }

    /** Reads again until the answer contains this, and returns the last answer. */
    private static String until(Supplier<String> reading, String expected) {
        long end = System.currentTimeMillis() + PATIENCE_MS;
        while (true) {
            String got = reading.get();
            if (got.contains(expected) || System.currentTimeMillis() > end) {
                return got;
            }
            try {
                Thread.sleep(50);
            } catch (InterruptedException interrupted) {
                throw new IllegalStateException(interrupted);
            }
        }
    }

    private static void say(String step, Object saw) {
        System.out.println("flow: " + step + ": " + saw);
    }
}
