# SPDX-License-Identifier: Apache-2.0
{
  'targets': [
    {
      'target_name': 'serval',
      'sources': [
        'addon.cc',
        'arguments.cc',
        'bpf_link.cc',
        'bpf_map.cc',
        'bpf_object.cc',
        'bpf_program.cc',
        'bpffs.cc',
        'cgroup_attach.cc',
        'conntrack.cc',
        'conntrack_table.cc',
        'descriptor.cc',
        'error.cc',
        'flow_table.cc',
        'grace_period.cc',
        'inject.cc',
        'libbpf_log.cc',
        'link_attach.cc',
        'netlink.cc',
        'netns_operations.cc',
        'own_thread.cc',
        'probe.cc',
        'ring_buffer.cc',
        'ring_memory.cc',
        'sock_diag.cc',
        'socket_counts.cc',
        'socket_table.cc',
        'sysctl.cc',
        'trim.cc',
      ],
      'dependencies': [
        "<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all",
      ],
      # The last: a worker that is being terminated must not take the process along.
      'defines': ['NAPI_VERSION=8', '_GNU_SOURCE', 'NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS'],
      'include_dirs': ['../bpf'],
      # The hash reads a struct of small fields by words, as the kernel's half does.
      'cflags_cc': ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', '-fno-strict-aliasing'],
      'cflags': ["<!@(pkg-config --cflags libbpf)"],
      'libraries': ["<!@(pkg-config --libs libbpf)"],
    },
  ],
}
