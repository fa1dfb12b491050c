{{/* Names and labels that many templates share. */}}

{{- define "serval.fullname" -}}
{{- $release := .Release.Name -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "serval" $release -}}
{{- $release | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-serval" ($release | trunc 33 | trimSuffix "-") -}}
{{- end -}}
{{- end -}}

{{- define "serval.operator" -}}{{ include "serval.fullname" . }}-operator{{- end -}}
{{- define "serval.agent" -}}{{ include "serval.fullname" . }}-agent{{- end -}}

{{/* Not empty where the operator signs certificates of agents. */}}
{{- define "serval.signs" -}}
{{- if and .Values.agent.enabled (eq .Values.certificates.mode "csr") (eq .Values.certificates.signerName "serval.io/agent") -}}
true
{{- end -}}
{{- end -}}

{{- define "serval.labels" -}}
app.kubernetes.io/name: serval
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* By these pods are found; they never change, since a Deployment's selector can't. */}}
{{- define "serval.selector" -}}
app.kubernetes.io/name: serval
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "serval.componentLabels" -}}
{{ include "serval.labels" .root }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{- define "serval.image" -}}
{{- with .root.Values.image.registry }}{{ . }}/{{ end -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}

{{- define "serval.pullSecrets" -}}
{{- with .Values.image.pullSecrets -}}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end -}}

{{/* What every container of ours that needs no more gets. */}}
{{- define "serval.restricted" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: { drop: [ALL] }
{{- end -}}

{{- define "serval.unprivilegedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
seccompProfile: { type: RuntimeDefault }
{{- end -}}
