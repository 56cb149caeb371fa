-- Who speaks TLS under a name: 'web', the gateway; 'tls', the service itself.
ALTER TABLE hosts ADD COLUMN entrance TEXT NOT NULL DEFAULT 'web' CHECK (entrance IN ('web', 'tls'));
