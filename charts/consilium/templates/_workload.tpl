{{/* What several workloads share. */}}

{{/* The genesis, as an item of the pod's maps: takes the root. */}}
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
