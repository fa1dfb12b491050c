# SPDX-License-Identifier: Apache-2.0
{
  'targets': [
    {
      'target_name': 'serval',
      'sources': [
        'addon.cc',
        'bpf_link.cc',
        'bpf_map.cc',
        'bpf_object.cc',
        'bpf_program.cc',
        'bpffs.cc',
        'conntrack.cc',
        'error.cc',
        'flow_table.cc',
        'grace_period.cc',
        'handle.cc',
        'inject.cc',
        'libbpf_log.cc',
        'netns_operations.cc',
        'netns_thread.cc',
        'probe.cc',
        'ring_buffer.cc',
        'sock_diag.cc',
      ],
      'dependencies': [
        "<!(node -p \"require('node-addon-api').targets\"):node_addon_api_except_all",
      ],
      'defines': ['NAPI_VERSION=8', '_GNU_SOURCE'],
      'include_dirs': ['../bpf'],
      # The hash reads a struct of small fields by words, as the kernel's half does.
      'cflags_cc': ['-std=c++17', '-O2', '-Wall', '-Wextra', '-Werror', '-fno-strict-aliasing'],
      'cflags': ["<!@(pkg-config --cflags libbpf)"],
      'libraries': ["<!@(pkg-config --libs libbpf)"],
    },
  ],
}
