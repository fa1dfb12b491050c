// SPDX-License-Identifier: Apache-2.0
#include "own_thread.h"

#include <fcntl.h>
#include <node_api.h>
#include <sched.h>

#include <cerrno>
#include <new>
#include <system_error>
#include <thread>

#include "descriptor.h"
#include "error.h"

namespace serval {

namespace {

void enter_netns(const std::string& path) {
  const std::string operation = "setns(" + path + ")";
  // O_NONBLOCK: a FIFO in place of a namespace must not hang the thread.
  const Descriptor netns(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!netns.open() || setns(netns.get(), CLONE_NEWNET) != 0) {
    throw NativeFailure(errno, operation);
  }
}

// One thread and its Promise. It owns itself: settle() ends it, also when the environment is torn down before.
class OwnThread {
 public:
  static Napi::Promise start(Napi::Env env, const std::optional<std::string>& path, std::unique_ptr<ThreadTask> task) {
    auto* self = new OwnThread(env, path, std::move(task));
    const Napi::Promise promise = self->deferred_.Promise();
    try {
      self->thread_ = std::thread([self] { self->run(); });
    } catch (const std::system_error& error) {
      self->failure_.emplace(error.code().value(), "pthread_create");
      self->done_.NonBlockingCall();
    }
    return promise;
  }

 private:
  static void settle(Napi::Env env, Napi::Function, OwnThread* self, void*) {
    const std::unique_ptr<OwnThread> owned(self);
    self->join();
    if (static_cast<napi_env>(env) == nullptr) {
      return;  // the environment ends: nobody is left to be told
    }
    napi_remove_env_cleanup_hook(env, wait_at_exit, self);
    self->done_.Release();
    self->settle_promise(env);
  }

  using Done = Napi::TypedThreadSafeFunction<OwnThread, void, settle>;

  OwnThread(Napi::Env env, std::optional<std::string> path, std::unique_ptr<ThreadTask> task)
      : deferred_(Napi::Promise::Deferred::New(env)), path_(std::move(path)), task_(std::move(task)) {
    done_ = Done::New(env, "serval.thread", 0, 1, this);
    // After the function was made, so that it runs before the function is taken down.
    napi_add_env_cleanup_hook(env, wait_at_exit, this);
  }

  // The addon may be unloaded after the environment: no thread may still run its code.
  static void wait_at_exit(void* self) { static_cast<OwnThread*>(self)->join(); }

  void join() {
    if (thread_.joinable()) {
      thread_.join();
    }
  }

  void run() {
    try {
      if (path_) {
        enter_netns(*path_);
      }
      task_->run();
    } catch (const NativeFailure& failure) {
      failure_ = failure;
    } catch (const std::bad_alloc&) {
      failure_.emplace(ENOMEM, name());
    } catch (const std::exception& error) {
      failure_.emplace(EIO, name(), error.what());
    }
    done_.NonBlockingCall();
  }

  std::string name() const { return path_ ? "netns(" + *path_ + ")" : "thread"; }

  void settle_promise(Napi::Env env) {
    try {
      resolve_or_reject(env);
    } catch (const Napi::Error&) {
      // JavaScript may not run any more: a worker is being terminated.
    }
  }

  void resolve_or_reject(Napi::Env env) {
    if (failure_.has_value()) {
      deferred_.Reject(to_js_error(env, *failure_).Value());
      return;
    }
    try {
      deferred_.Resolve(task_->result(env));
    } catch (const NativeFailure& failure) {
      deferred_.Reject(to_js_error(env, failure).Value());
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  Napi::Promise::Deferred deferred_;
  const std::optional<std::string> path_;
  const std::unique_ptr<ThreadTask> task_;
  std::optional<NativeFailure> failure_;
  Done done_;
  std::thread thread_;
};

}  // namespace

Napi::Promise start_own_thread(Napi::Env env, const std::optional<std::string>& path, std::unique_ptr<ThreadTask> task) {
  return OwnThread::start(env, path, std::move(task));
}

}  // namespace serval
