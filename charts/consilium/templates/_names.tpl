{{/* Names and labels. */}}

{{- define "consilium.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 48 | trimSuffix "-" -}}
{{- end -}}

{{- define "consilium.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains (include "consilium.name" .) .Release.Name -}}
{{- .Release.Name | trunc 48 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "consilium.name" .) | trunc 48 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "consilium.organisation" -}}
{{- .Values.organisation | default .Release.Name -}}
{{- end -}}

{{/* Takes (dict "root" $ "component" "ingest"): what a selector matches; never changes after install. */}}
{{- define "consilium.selector" -}}
app.kubernetes.io/name: {{ include "consilium.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "consilium.labels" -}}
{{ include "consilium.selector" . }}
app.kubernetes.io/part-of: consilium
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The service's own Secret: takes (dict "root" $ "component" "ingest"). */}}
{{- define "consilium.secret" -}}
{{- (index .root.Values .component).existingSecret | default (printf "%s-%s" (include "consilium.fullname" .root) .component) -}}
{{- end -}}

{{- define "consilium.busSecret" -}}
{{- .Values.bus.existingSecret | default (printf "%s-bus" (include "consilium.fullname" .)) -}}
{{- end -}}

{{- define "consilium.busUrl" -}}
{{- if .Values.nats.enabled -}}
nats://{{ include "consilium.fullname" . }}-nats:4222
{{- else -}}
{{- .Values.nats.url -}}
{{- end -}}
{{- end -}}

{{/* Takes (dict "root" $ "component" "ingest"). */}}
{{- define "consilium.image" -}}
{{- $image := .root.Values.image -}}
{{- $values := index .root.Values .component -}}
{{- with $image.registry }}{{ . }}/{{ end -}}
{{ $image.repository }}/{{ .component }}
{{- if $values.digest }}@{{ $values.digest }}{{ else }}:{{ $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end -}}

{{/* Port of a NATS address, from "nats://host:4222". */}}
{{- define "consilium.portOf" -}}
{{- $port := regexFind ":[0-9]+$" . | trimPrefix ":" -}}
{{- $port | default "4222" -}}
{{- end -}}
