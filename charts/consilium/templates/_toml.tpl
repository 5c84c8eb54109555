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

{{- define "consilium.toml.database" -}}
[database]
{{- if eq .database.type "postgresql" }}
url_file = "/run/secrets/consilium/database/url"
{{- else }}
url = "sqlite:///var/lib/consilium/{{ .component }}.db"
{{- end }}
{{- end -}}

{{- define "consilium.toml.ingest" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "ingest") }}

[http]
listen = "0.0.0.0:8080"

{{ include "consilium.toml.database" (dict "component" "ingest" "database" .Values.ingest.database) }}

[auth]
issuer = {{ .Values.ingest.auth.issuer | quote }}
audience = {{ .Values.ingest.auth.audience | quote }}
jwks_file = "/etc/consilium/jwks/jwks.json"

[ledger]
genesis_file = "/etc/consilium/genesis/genesis.json"
signing_key_file = "/run/secrets/consilium/signing/key"
acknowledge = {{ .Values.ingest.acknowledge | quote }}
{{- end -}}

{{- define "consilium.toml.validate" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "validate") }}

[validate]
packages = {{ concat (list "/opt/fhir/hl7.fhir.r4.core.tgz") .Values.validate.packages | toJson }}
genesis_file = "/etc/consilium/genesis/genesis.json"
signing_key_file = "/run/secrets/consilium/signing/key"
{{- end -}}

{{- define "consilium.toml.consensus" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "consensus") }}

[consensus]
data_dir = "/var/lib/consilium"
genesis_file = "/etc/consilium/genesis/genesis.json"
signing_key_file = "/run/secrets/consilium/signing/key"
{{- end -}}

{{- define "consilium.toml.keys" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "keys") }}

[keys]
data_dir = "/var/lib/consilium"
genesis_file = "/etc/consilium/genesis/genesis.json"
unseal_key_file = "/run/secrets/consilium/unseal/key"
{{- end -}}

{{- define "consilium.toml.audit" -}}
{{- include "consilium.toml.common" (dict "root" . "component" "audit") }}

[http]
listen = "0.0.0.0:8080"

{{ include "consilium.toml.database" (dict "component" "audit" "database" .Values.audit.database) }}

[ledger]
genesis_file = "/etc/consilium/genesis/genesis.json"
signing_key_file = "/run/secrets/consilium/signing/key"
{{- end -}}
