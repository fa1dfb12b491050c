// SPDX-License-Identifier: Apache-2.0
#include "bpffs.h"

#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <cerrno>

#include "arguments.h"
#include "error.h"

namespace serval {

Napi::Value is_bpffs(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0, "statfs");
  struct statfs status;
  if (statfs(path.c_str(), &status) != 0) {
    throw NativeFailure(errno, "statfs(" + path + ")");
  }
  return Napi::Boolean::New(info.Env(), static_cast<uint32_t>(status.f_type) == BPF_FS_MAGIC);
}

Napi::Value mount_bpffs(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0, "mount");
  if (mount("bpf", path.c_str(), "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") != 0) {
    throw NativeFailure(errno, "mount(" + path + ")");
  }
  return info.Env().Undefined();
}

Napi::Value unmount_bpffs(const Napi::CallbackInfo& info) {
  const std::string path = string_argument(info, 0, "umount");
  if (umount2(path.c_str(), UMOUNT_NOFOLLOW) != 0) {
    throw NativeFailure(errno, "umount(" + path + ")");
  }
  return info.Env().Undefined();
}

}  // namespace serval
