// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>

namespace serval {

// Work away from JavaScript's thread and what becomes of it, on the thread that each belongs to.
class ThreadTask {
 public:
  virtual ~ThreadTask() = default;
  // On a thread of its own: no JavaScript value may be touched. A NativeFailure rejects the Promise.
  virtual void run() = 0;
  // On the JavaScript thread, after a run() that did not throw.
  virtual Napi::Value result(Napi::Env env) = 0;
};

// Inside the network namespace `path`, where one is given.
Napi::Promise start_own_thread(Napi::Env env, const std::optional<std::string>& path, std::unique_ptr<ThreadTask> task);

// Runs `work` on a thread of its own inside the namespace `path` and settles the Promise with what `to_js` makes of its
// result. Never a thread of libuv's pool: setns would stay with it and poison whatever it runs next.
template <typename Result, typename Work, typename ToJs>
Napi::Promise run_in_netns(Napi::Env env, const std::optional<std::string>& path, Work work, ToJs to_js) {
  struct Task : ThreadTask {
    Task(Work work, ToJs to_js) : work(std::move(work)), to_js(std::move(to_js)) {}
    void run() override { value.emplace(work()); }
    Napi::Value result(Napi::Env env) override { return to_js(env, *value); }

    Work work;
    ToJs to_js;
    std::optional<Result> value;
  };
  return start_own_thread(env, path, std::make_unique<Task>(std::move(work), std::move(to_js)));
}

// The same without a namespace, for what takes longer than others should have to wait for a thread of libuv's pool.
template <typename Result, typename Work, typename ToJs>
Napi::Promise run_on_own_thread(Napi::Env env, Work work, ToJs to_js) {
  return run_in_netns<Result>(env, std::nullopt, std::move(work), std::move(to_js));
}

}  // namespace serval
