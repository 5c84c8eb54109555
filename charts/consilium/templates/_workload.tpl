{{/* Volumes that several services share. Each takes (dict "root" $ "component" "ingest"). */}}

{{- define "consilium.busVolume" -}}
{{- dict "name" "bus" "secret" (include "consilium.busSecret" .root) "key" .component "path" "password" | toYaml -}}
{{- end -}}

{{- define "consilium.signingVolume" -}}
{{- $given := (index .root.Values .component).signingKey.existingSecret -}}
{{- $secret := include "consilium.secret" (merge (dict "suffix" "signing" "given" $given) .) -}}
{{- dict "name" "signing" "secret" $secret "key" "key" | toYaml -}}
{{- end -}}

{{- define "consilium.databaseVolume" -}}
{{- $given := (index .root.Values .component).database.existingSecret -}}
{{- $secret := include "consilium.secret" (merge (dict "suffix" "database" "given" $given) .) -}}
{{- dict "name" "database" "secret" $secret "key" "url" | toYaml -}}
{{- end -}}

{{- define "consilium.genesisVolume" -}}
{{- $name := .Values.genesis.existingConfigMap | default (printf "%s-genesis" (include "consilium.fullname" .)) -}}
{{- dict "name" "genesis" "configMap" $name "key" "genesis.json" | toYaml -}}
{{- end -}}

{{/* Metadata of a workload: takes (dict "root" $ "component" "ingest"). */}}
{{- define "consilium.workloadMeta" -}}
name: {{ include "consilium.fullname" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "consilium.labels" . | nindent 2 }}
{{- end -}}
