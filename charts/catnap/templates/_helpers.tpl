{{/* The prefix of all names: `catnap` for a release of that name. */}}
{{- define "catnap.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains "catnap" .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-catnap" .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* What selects a component's pods. Takes (list root component). */}}
{{- define "catnap.selector" -}}
app.kubernetes.io/name: catnap
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{/* Labels of every object. Takes (list root component). */}}
{{- define "catnap.labels" -}}
{{ include "catnap.selector" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ (index . 0).Chart.Name }}-{{ (index . 0).Chart.Version }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels and annotations of a component's pods. Takes (list root component). */}}
{{- define "catnap.podMetadata" -}}
{{- $values := index (index . 0).Values (index . 1) -}}
labels:
  {{- include "catnap.labels" . | nindent 2 }}
  {{- with $values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $values.podAnnotations }}
annotations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* A tag beside a digest is for readers only: the digest decides. */}}
{{- define "catnap.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ .repository }}{{ with .tag }}:{{ . }}{{ end }}@{{ .digest }}
{{- else -}}
{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Pod Security `restricted`, at the pod. 65532 is the image's user. */}}
{{- define "catnap.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Pod Security `restricted`, at the container. */}}
{{- define "catnap.securityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* Who the process is, from the downward API, and what every program reads. */}}
{{- define "catnap.environment" -}}
- name: POD_NAME
  valueFrom: {fieldRef: {fieldPath: metadata.name}}
- name: POD_NAMESPACE
  valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
- name: POD_UID
  valueFrom: {fieldRef: {fieldPath: metadata.uid}}
- name: POD_IP
  valueFrom: {fieldRef: {fieldPath: status.podIP}}
- name: CATNAP_LOG
  value: {{ .Values.log.filter | quote }}
- name: CATNAP_LOG_FORMAT
  value: {{ .Values.log.format }}
{{- end -}}

{{/* The health server on port 9090 that every program has. */}}
{{- define "catnap.probes" -}}
livenessProbe:
  httpGet: {path: /healthz, port: admin}
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: {path: /readyz, port: admin}
  periodSeconds: 1
  timeoutSeconds: 1
{{- end -}}

{{/* The PriorityClass of Catnap's pods; empty for the cluster's default. */}}
{{- define "catnap.priorityClass" -}}
{{- with .Values.priorityClass -}}
{{- .name | default (ternary (include "catnap.fullname" $) "" .create) -}}
{{- end -}}
{{- end -}}

{{/*
  Where pods may run, and how early. Takes (list root component).

  Zones are in the affinity and not in a second spread constraint: a scheduler leaves nodes without one of the labels of the
  constraints out of the spreading altogether, so on a cluster without zones the replicas would share a node.
*/}}
{{- define "catnap.placement" -}}
{{- $values := index (index . 0).Values (index . 1) }}
{{- with include "catnap.priorityClass" (index . 0) }}
priorityClassName: {{ . }}
{{- end }}
{{- with $values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
affinity:
  {{- with $values.affinity }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
  {{- if not (hasKey $values.affinity "podAntiAffinity") }}
  podAntiAffinity:
    preferredDuringSchedulingIgnoredDuringExecution:
      {{- range $key, $weight := dict "kubernetes.io/hostname" 100 "topology.kubernetes.io/zone" 50 }}
      - weight: {{ $weight }}
        podAffinityTerm:
          topologyKey: {{ $key }}
          labelSelector:
            matchLabels: {{- include "catnap.selector" $ | nindent 14 }}
      {{- end }}
  {{- end }}
topologySpreadConstraints:
  {{- with $values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
  {{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    # A cluster of one node, or a node too few, still gets all replicas.
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {{- include "catnap.selector" $ | nindent 8 }}
    matchLabelKeys: [pod-template-hash]
  {{- end }}
{{- end -}}

{{/* Names of the Secrets with certificates of the edge, as a JSON list: those that are named, then that of cert-manager. */}}
{{- define "catnap.tlsSecrets" -}}
{{- $secrets := .Values.activator.edge.tls.secrets -}}
{{- if .Values.activator.edge.tls.certificate.enabled -}}
{{- $secrets = append $secrets (include "catnap.certificateSecret" .) | uniq -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end -}}

{{/* Where cert-manager puts the edge's certificate. */}}
{{- define "catnap.certificateSecret" -}}
{{- .Values.activator.edge.tls.certificate.secretName | default (printf "%s-activator-edge" (include "catnap.fullname" .)) -}}
{{- end -}}

{{/*
  Hosts of functions, as a JSON list: those that are said, or else all below the domain. Takes (list root hosts value), where
  the last is what to set if there are none.
*/}}
{{- define "catnap.hosts" -}}
{{- $domain := (index . 0).Values.domain -}}
{{- if index . 1 -}}
{{- toJson (index . 1) -}}
{{- else if $domain -}}
{{- list (printf "*.%s" $domain) | toJson -}}
{{- else -}}
{{- fail (printf "%s: must name the hosts of functions, such as shop.example.com or *.apps.example.com, as there is no domain" (index . 2)) -}}
{{- end -}}
{{- end -}}

{{- define "catnap.pullSecrets" -}}
{{- with .Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* Binds the ClusterRole and the Role of that name to the ServiceAccount of that name. Takes (list root name labels). */}}
{{- define "catnap.bindings" -}}
{{- $root := index . 0 }}
{{- $name := index . 1 }}
{{- $labels := index . 2 }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata:
  name: {{ $name }}
  labels: {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: ClusterRole
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels: {{- $labels | nindent 4 }}
roleRef:
  apiGroup: rbac.authorization.k8s.io
  kind: Role
  name: {{ $name }}
subjects:
  - kind: ServiceAccount
    name: {{ $name }}
    namespace: {{ $root.Release.Namespace }}
{{- end -}}
