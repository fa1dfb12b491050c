{{/* What the policies of admission-policy.yaml have in common. */}}

{{- define "serval.ownNode" }}
    # The node of the pod that the token was made for; empty where the token is bound to no pod.
    - name: node
      expression: >-
        has(request.userInfo.extra) && 'authentication.kubernetes.io/node-name' in request.userInfo.extra
        ? request.userInfo.extra['authentication.kubernetes.io/node-name'][0] : ''
{{- end }}
{{- define "serval.boundToken" }}
    - expression: variables.node != ''
      message: >-
        this token of the agents' service account is bound to no pod, so that nobody knows which node it speaks for; use the
        one that is mounted in the agent's pod, or make one with kubectl create token --bound-object-kind Pod
{{- end }}
