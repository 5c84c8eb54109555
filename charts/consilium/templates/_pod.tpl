{{/* What all pods have in common. */}}

{{- define "consilium.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "consilium.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Where the pod may run: takes the service's values. */}}
{{- define "consilium.placement" -}}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .topologySpreadConstraints }}
topologySpreadConstraints:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- end -}}

{{/*
Pod template of one of our services. Takes a dict:
  root, component
  config    the service's TOML; its checksum rolls the pods
  http      true if it serves 8080
  keys      keys of the service's own Secret: mounted as /run/secrets/consilium/own/KEY
  maps      list of (dict "name" VOLUME "configMap" NAME "key" KEY): mounted as /etc/consilium/VOLUME/KEY
  data      "" (none), "template" (a volumeClaimTemplate named data), or the name of a claim
*/}}
{{- define "consilium.pod" -}}
{{- $values := index .root.Values .component -}}
metadata:
  labels:
    {{- include "consilium.labels" . | nindent 4 }}
    {{- with $values.podLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ .config | sha256sum }}
    {{- with $values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "consilium.fullname" .root }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ $values.terminationGracePeriodSeconds }}
  {{- with .root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    {{- include "consilium.podSecurity" .root | nindent 4 }}
  {{- with include "consilium.placement" $values | trim }}
  {{- . | nindent 2 }}
  {{- end }}
  containers:
    - name: {{ .component }}
      image: {{ include "consilium.image" . | quote }}
      imagePullPolicy: {{ .root.Values.image.pullPolicy }}
      args: ["--config", "/etc/consilium/config/{{ .component }}.toml"]
      {{- with $values.extraEnv }}
      env:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      ports:
        - name: health
          containerPort: 9090
        {{- if .http }}
        - name: http
          containerPort: 8080
        {{- end }}
      # Up to ten minutes to open stores and compile definitions; then the other two take over.
      startupProbe:
        httpGet:
          path: /livez
          port: health
        periodSeconds: 2
        failureThreshold: 300
      livenessProbe:
        httpGet:
          path: /livez
          port: health
        periodSeconds: 10
        timeoutSeconds: 3
        failureThreshold: 6
      readinessProbe:
        httpGet:
          path: /readyz
          port: health
        periodSeconds: 3
        timeoutSeconds: 2
        failureThreshold: 2
      # Endpoints forget the pod before it stops taking requests; the image has no shell to sleep with.
      lifecycle:
        preStop:
          sleep:
            seconds: 5
      resources:
        {{- toYaml $values.resources | nindent 8 }}
      securityContext:
        {{- include "consilium.containerSecurity" .root | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/consilium/config
          readOnly: true
        {{- range .maps }}
        - name: {{ .name }}
          mountPath: /etc/consilium/{{ .name }}
          readOnly: true
        {{- end }}
        - name: bus
          mountPath: /run/secrets/consilium/bus
          readOnly: true
        - name: own
          mountPath: /run/secrets/consilium/own
          readOnly: true
        {{- if .data }}
        - name: data
          mountPath: /var/lib/consilium
        {{- end }}
        - name: tmp
          mountPath: /tmp
  volumes:
    - name: config
      configMap:
        name: {{ include "consilium.fullname" .root }}-{{ .component }}
    {{- range .maps }}
    - name: {{ .name }}
      configMap:
        name: {{ .configMap }}
        items:
          - key: {{ .key }}
            path: {{ .key }}
    {{- end }}
    # Secrets are readable by the group only (0440): fsGroup makes it ours.
    - name: bus
      secret:
        secretName: {{ include "consilium.busSecret" .root }}
        defaultMode: 288
        items:
          - key: {{ .component }}
            path: password
    - name: own
      secret:
        secretName: {{ include "consilium.secret" . }}
        defaultMode: 288
        items:
          {{- range .keys }}
          - key: {{ . }}
            path: {{ . }}
          {{- end }}
    {{- if and .data (ne .data "template") }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .data }}
    {{- end }}
    # The image has no temporary folder.
    - name: tmp
      emptyDir:
        sizeLimit: 256Mi
{{- end -}}

{{/* Claim that outlives the release: takes (dict "root" $ "component" "ingest"). */}}
{{- define "consilium.claim" -}}
{{- $persistence := (index .root.Values .component).persistence -}}
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{ include "consilium.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "consilium.labels" . | nindent 4 }}
  annotations:
    helm.sh/resource-policy: keep
spec:
  {{- include "consilium.claimSpec" $persistence | nindent 2 }}
{{- end -}}

{{- define "consilium.claimSpec" -}}
accessModes: [ReadWriteOnce]
{{- with .storageClass }}
storageClassName: {{ . }}
{{- end }}
resources:
  requests:
    storage: {{ .size }}
{{- end -}}

{{/* ConfigMap of one service: takes (dict "root" $ "component" "ingest" "config" TEXT). */}}
{{- define "consilium.configMap" -}}
apiVersion: v1
kind: ConfigMap
metadata:
  name: {{ include "consilium.fullname" .root }}-{{ .component }}
  namespace: {{ .root.Release.Namespace }}
  labels:
    {{- include "consilium.labels" . | nindent 4 }}
data:
  {{ .component }}.toml: |
    {{- .config | nindent 4 }}
{{- end -}}
