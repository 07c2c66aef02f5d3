//! Quotas, authorization, TLS and SASL.

use crate::config::definition::{
    Definition, boolean, class, double, int, list, long, password, short, string,
};
use crate::config::refusal::{AUTHORIZATION, JAVA_CLASS, SASL, TLS, TOKENS};

pub(super) const TABLE: &[Definition] = &[
    int("quota.window.num").or("11").at_least(1).accepted("Samples kept of client quotas."),
    int("quota.window.size.seconds").or("1").at_least(1).accepted("Length of one sample of client quotas."),
    int("controller.quota.window.num").or("11").at_least(1).accepted("Samples kept of the mutation quota."),
    int("controller.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .accepted("Length of one sample of the mutation quota."),
    int("replication.quota.window.num")
        .or("11")
        .at_least(1)
        .accepted("Samples kept of the replication quota."),
    int("replication.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .accepted("Length of one sample of the replication quota."),
    int("alter.log.dirs.replication.quota.window.num")
        .or("11")
        .at_least(1)
        .accepted("Samples kept of the quota of moves between folders."),
    int("alter.log.dirs.replication.quota.window.size.seconds")
        .or("1")
        .at_least(1)
        .accepted("Length of one sample of the quota of moves between folders."),
    class("client.quota.callback.class").refused(&JAVA_CLASS, "Java class that decides client quotas."),
    string("authorizer.class.name").or("").refused(&AUTHORIZATION, "Java class that authorizes requests."),
    class("principal.builder.class")
        .or("org.apache.kafka.common.security.authenticator.DefaultKafkaPrincipalBuilder")
        .per_broker()
        .refused(&JAVA_CLASS, "Java class that names the principal of a connection."),
    long("connections.max.reauth.ms")
        .or("0")
        .refused(&SASL, "How long a SASL session lasts before it must authenticate again."),
    string("security.providers").refused(&JAVA_CLASS, "Java classes of security algorithms."),
    password("delegation.token.master.key").refused(&TOKENS, "Old name of delegation.token.secret.key."),
    password("delegation.token.secret.key")
        .refused(&TOKENS, "Key that signs delegation tokens; turns them on."),
    long("delegation.token.max.lifetime.ms")
        .or("604800000")
        .at_least(1)
        .accepted("Longest life of a delegation token."),
    long("delegation.token.expiry.time.ms")
        .or("86400000")
        .at_least(1)
        .accepted("Life of a delegation token until it must be renewed."),
    long("delegation.token.expiry.check.interval.ms")
        .or("3600000")
        .at_least(1)
        .accepted("How often expired delegation tokens are removed."),
    password("password.encoder.secret")
        .accepted("Secret that encrypts dynamic passwords in ZooKeeper; there are none to encrypt."),
    password("password.encoder.old.secret")
        .accepted("Secret that encrypted dynamic passwords before; there are none to decrypt."),
    string("password.encoder.cipher.algorithm")
        .or("AES/CBC/PKCS5Padding")
        .accepted("Cipher of dynamic passwords in ZooKeeper."),
    int("password.encoder.iterations")
        .or("4096")
        .at_least(1024)
        .accepted("Key derivation rounds of dynamic passwords in ZooKeeper."),
    int("password.encoder.key.length")
        .or("128")
        .at_least(8)
        .accepted("Key length of dynamic passwords in ZooKeeper."),
    string("password.encoder.keyfactory.algorithm")
        .accepted("Key derivation of dynamic passwords in ZooKeeper."),
    class("sasl.client.callback.handler.class").refused(&SASL, "Java class of SASL client callbacks."),
    list("sasl.enabled.mechanisms").or("GSSAPI").per_broker().refused(&SASL, "SASL mechanisms on offer."),
    password("sasl.jaas.config").per_broker().refused(&SASL, "JAAS login of SASL."),
    string("sasl.kerberos.kinit.cmd").or("/usr/bin/kinit").per_broker().refused(&SASL, "Path of kinit."),
    long("sasl.kerberos.min.time.before.relogin")
        .or("60000")
        .per_broker()
        .refused(&SASL, "Pause between Kerberos logins."),
    list("sasl.kerberos.principal.to.local.rules")
        .or("DEFAULT")
        .per_broker()
        .refused(&SASL, "How Kerberos principals become user names."),
    string("sasl.kerberos.service.name").per_broker().refused(&SASL, "Kerberos name of the service."),
    double("sasl.kerberos.ticket.renew.jitter")
        .or("0.05")
        .per_broker()
        .refused(&SASL, "Random part of the Kerberos renewal time."),
    double("sasl.kerberos.ticket.renew.window.factor")
        .or("0.8")
        .per_broker()
        .refused(&SASL, "Share of a Kerberos ticket's life after which it is renewed."),
    class("sasl.login.callback.handler.class").refused(&SASL, "Java class of SASL login callbacks."),
    class("sasl.login.class").refused(&SASL, "Java class of the SASL login."),
    int("sasl.login.connect.timeout.ms")
        .refused(&SASL, "Connection timeout to the provider of OAuth tokens."),
    int("sasl.login.read.timeout.ms").refused(&SASL, "Read timeout of the provider of OAuth tokens."),
    short("sasl.login.refresh.buffer.seconds")
        .or("300")
        .per_broker()
        .refused(&SASL, "Time left on a credential when it is renewed."),
    short("sasl.login.refresh.min.period.seconds")
        .or("60")
        .per_broker()
        .refused(&SASL, "Shortest time between renewals of a credential."),
    double("sasl.login.refresh.window.factor")
        .or("0.8")
        .per_broker()
        .refused(&SASL, "Share of a credential's life after which it is renewed."),
    double("sasl.login.refresh.window.jitter")
        .or("0.05")
        .per_broker()
        .refused(&SASL, "Random part of a credential's renewal time."),
    long("sasl.login.retry.backoff.max.ms")
        .or("10000")
        .refused(&SASL, "Longest pause between tries of a login."),
    long("sasl.login.retry.backoff.ms").or("100").refused(&SASL, "First pause between tries of a login."),
    string("sasl.mechanism.controller.protocol")
        .or("GSSAPI")
        .refused(&SASL, "SASL mechanism to a KRaft controller."),
    string("sasl.mechanism.inter.broker.protocol")
        .or("GSSAPI")
        .per_broker()
        .refused(&SASL, "SASL mechanism between brokers."),
    int("sasl.oauthbearer.clock.skew.seconds")
        .or("30")
        .refused(&SASL, "Clock difference tolerated in OAuth tokens."),
    list("sasl.oauthbearer.expected.audience").refused(&SASL, "Audience expected in OAuth tokens."),
    string("sasl.oauthbearer.expected.issuer").refused(&SASL, "Issuer expected in OAuth tokens."),
    long("sasl.oauthbearer.jwks.endpoint.refresh.ms")
        .or("3600000")
        .refused(&SASL, "How often OAuth keys are fetched."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.max.ms")
        .or("10000")
        .refused(&SASL, "Longest pause between tries to fetch OAuth keys."),
    long("sasl.oauthbearer.jwks.endpoint.retry.backoff.ms")
        .or("100")
        .refused(&SASL, "First pause between tries to fetch OAuth keys."),
    string("sasl.oauthbearer.jwks.endpoint.url").refused(&SASL, "Where OAuth keys are fetched."),
    string("sasl.oauthbearer.scope.claim.name")
        .or("scope")
        .refused(&SASL, "Claim of an OAuth token that holds its scope."),
    string("sasl.oauthbearer.sub.claim.name")
        .or("sub")
        .refused(&SASL, "Claim of an OAuth token that holds its subject."),
    string("sasl.oauthbearer.token.endpoint.url").refused(&SASL, "Where OAuth tokens are fetched."),
    class("sasl.server.callback.handler.class").refused(&SASL, "Java class of SASL server callbacks."),
    int("sasl.server.max.receive.size")
        .or("524288")
        .refused(&SASL, "Longest SASL message taken from a client."),
    boolean("ssl.allow.dn.changes")
        .or("false")
        .refused(&TLS, "Whether a new certificate may have another name."),
    boolean("ssl.allow.san.changes")
        .or("false")
        .refused(&TLS, "Whether a new certificate may have other alternative names."),
    list("ssl.cipher.suites").or("").per_broker().refused(&TLS, "TLS cipher suites allowed."),
    string("ssl.client.auth")
        .or("none")
        .one_of(&["required", "requested", "none"])
        .per_broker()
        .refused(&TLS, "Whether clients must show a certificate."),
    list("ssl.enabled.protocols").or("TLSv1.2,TLSv1.3").per_broker().refused(&TLS, "TLS versions allowed."),
    string("ssl.endpoint.identification.algorithm")
        .or("https")
        .per_broker()
        .refused(&TLS, "How the name in a server's certificate is checked."),
    class("ssl.engine.factory.class").per_broker().refused(&TLS, "Java class that makes TLS engines."),
    password("ssl.key.password").per_broker().refused(&TLS, "Password of the private key."),
    string("ssl.keymanager.algorithm")
        .or("SunX509")
        .per_broker()
        .refused(&TLS, "Algorithm of the key manager."),
    password("ssl.keystore.certificate.chain").per_broker().refused(&TLS, "Certificate chain as PEM text."),
    password("ssl.keystore.key").per_broker().refused(&TLS, "Private key as PEM text."),
    string("ssl.keystore.location").per_broker().refused(&TLS, "Key store file."),
    password("ssl.keystore.password").per_broker().refused(&TLS, "Password of the key store."),
    string("ssl.keystore.type").or("JKS").per_broker().refused(&TLS, "Format of the key store."),
    string("ssl.principal.mapping.rules")
        .or("DEFAULT")
        .refused(&TLS, "How certificate names become user names."),
    string("ssl.protocol").or("TLSv1.3").per_broker().refused(&TLS, "TLS version spoken."),
    string("ssl.provider").per_broker().refused(&TLS, "Java security provider of TLS."),
    string("ssl.secure.random.implementation")
        .per_broker()
        .refused(&TLS, "Source of random numbers for TLS."),
    string("ssl.trustmanager.algorithm")
        .or("PKIX")
        .per_broker()
        .refused(&TLS, "Algorithm of the trust manager."),
    password("ssl.truststore.certificates").per_broker().refused(&TLS, "Trusted certificates as PEM text."),
    string("ssl.truststore.location").per_broker().refused(&TLS, "Trust store file."),
    password("ssl.truststore.password").per_broker().refused(&TLS, "Password of the trust store."),
    string("ssl.truststore.type").or("JKS").per_broker().refused(&TLS, "Format of the trust store."),
];
