{{/* The services' configuration; the services' own types parse it in the tests. */}}

{{/* Takes (dict "root" $ "component" "ingest"). */}}
{{- define "consilium.toml.common" -}}
[organisation]
name = {{ include "consilium.organisation" .root | quote }}
channel = {{ .root.Values.channel | quote }}
profile = {{ .root.Values.profile | quote }}

[bus]
url = {{ include "consilium.busUrl" .root | quote }}
user = {{ printf "%s.%s" (include "consilium.organisation" .root) .component | quote }}
password_file = "/run/secrets/consilium/bus/password"

[health]
listen = "0.0.0.0:9090"

[telemetry]
filter = {{ .root.Values.telemetry.filter | quote }}
json = {{ .root.Values.telemetry.json }}
{{- with .root.Values.telemetry.otlpEndpoint }}
otlp_endpoint = {{ . | quote }}
{{- end }}
{{- end -}}

{{/* File of a service's SQLite store: takes the service. */}}
{{- define "consilium.toml.sqlite" -}}
sqlite:///var/lib/consilium/{{ . }}.db?mode=rwc
{{- end -}}

{{- define "consilium.toml.packages" -}}
{{- concat (list "/opt/fhir/hl7.fhir.r4.core.tgz") .Values.packages.extra | toJson -}}
{{- end -}}

{{- define "consilium.toml.ingest" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "ingest") }}

[http]
listen = "0.0.0.0:8080"
base_url = {{ .Values.ingest.baseUrl | quote }}

[database]
{{- if eq .Values.ingest.database.type "postgresql" }}
url_file = "/run/secrets/consilium/own/database-url"
{{- else }}
url = {{ include "consilium.toml.sqlite" "ingest" | quote }}
{{- end }}
index_key_file = "/run/secrets/consilium/own/index-key"

[ledger]
genesis_file = "/etc/consilium/genesis/genesis.json"
signing_key_file = "/run/secrets/consilium/own/signing-key"
acknowledge = {{ .Values.ingest.acknowledge | quote }}

[fhir]
packages = {{ include "consilium.toml.packages" . }}
# Of use to a container that restarts in its pod.
schema_cache = "/tmp/schema.bin"

[auth]
issuer = {{ .Values.ingest.auth.issuer | quote }}
audience = {{ .Values.ingest.baseUrl | quote }}
jwks_file = "/etc/consilium/jwks/jwks.json"
{{- with .Values.ingest.auth.tokenEndpoint }}
token_endpoint = {{ . | quote }}
{{- end }}
{{- end -}}

{{- define "consilium.toml.validate" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "validate") }}

[validate]
packages = {{ include "consilium.toml.packages" . }}
# Of use to a container that restarts in its pod.
schema_cache = "/tmp/schema.bin"
genesis_file = "/etc/consilium/genesis/genesis.json"
signing_key_file = "/run/secrets/consilium/own/signing-key"
{{- end -}}

{{- define "consilium.toml.consensus" -}}
{{- with .Values.consensus.firstStartUntil -}}
first_start_until = {{ . | quote }}
{{ end -}}
data_dir = "/var/lib/consilium"
{{- with .Values.consensus.keepBlocks }}
keep_blocks = {{ int64 . }}
{{- end }}
genesis_file = "/etc/consilium/genesis/genesis.json"
key_file = "/run/secrets/consilium/own/signing-key"

{{ include "consilium.toml.common" (dict "root" . "component" "consensus") }}
{{- end -}}

{{- define "consilium.toml.keys" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "keys") }}

[keys]
data_dir = "/var/lib/consilium"
genesis_file = "/etc/consilium/genesis/genesis.json"
unseal_key_file = "/run/secrets/consilium/own/unseal-key"

# kubectl port-forward reaches it; officers' signatures are the fence.
[admin]
listen = "127.0.0.1:9091"
{{- with .Values.keys.seal }}
{{- if ne .method "key-file" }}

[seal]
method = {{ .method | quote }}
{{- if eq .method "vault-transit" }}
address = {{ .transit.address | quote }}
mount = {{ .transit.mount | quote }}
key = {{ .transit.key | quote }}
token_file = "/run/secrets/consilium/own/transit-token"
ca_file = "/run/secrets/consilium/own/transit-ca"
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.keys.officers }}

[[officer]]
name = {{ .name | quote }}
public_key = {{ .publicKey | quote }}
{{- end }}
{{- range .Values.keys.mapping }}

[[mapping]]
role = {{ .role | quote }}
attribute = {{ .attribute | quote }}
{{- end }}
{{- end -}}

{{- define "consilium.toml.audit" -}}
{{- if eq .Values.audit.database.type "postgresql" -}}
database_url_file = "/run/secrets/consilium/own/database-url"
{{- else -}}
database_url = {{ include "consilium.toml.sqlite" "audit" | quote }}
{{- end }}
genesis_file = "/etc/consilium/genesis/genesis.json"
key_file = "/run/secrets/consilium/own/signing-key"
storage_key_file = "/run/secrets/consilium/own/storage-key"

{{ include "consilium.toml.common" (dict "root" . "component" "audit") }}

[dashboard]
listen = "0.0.0.0:8080"
officer = {{ .Values.audit.officer | quote }}
password_file = "/run/secrets/consilium/own/officer-password"
{{- end -}}
