// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <napi.h>

#include <cerrno>
#include <string>

#include "error.h"

namespace serval {

// The classes' constructors, one set for each environment (a worker thread has its own).
struct Constructors {
  Napi::FunctionReference object;
  Napi::FunctionReference map;
  Napi::FunctionReference program;
  Napi::FunctionReference link;
  Napi::FunctionReference ring_buffer;
  Napi::FunctionReference flow_table;
};

// Base of every class: made only by native code, tagged so that an object of another class is never taken for it,
// and its methods' NativeFailure become JavaScript exceptions. A class T declares
//
//   struct Init                                     what make() takes and its constructor gets
//   static constexpr napi_type_tag kTag
//   static Napi::FunctionReference& constructor(Constructors&)
template <typename T>
class Handle : public Napi::ObjectWrap<T> {
 public:
  using Napi::ObjectWrap<T>::ObjectWrap;

  template <typename Init>
  static Napi::Object make(Napi::Env env, Init init) {
    Constructors* constructors = env.GetInstanceData<Constructors>();
    return T::constructor(*constructors).New({Napi::External<Init>::New(env, &init)});
  }

  static T* unwrap(const Napi::Value& value, const std::string& operation) {
    if (!value.IsObject() || !value.As<Napi::Object>().CheckTypeTag(&T::kTag)) {
      throw NativeFailure(EINVAL, operation, "the argument is no handle of the right class");
    }
    return Napi::ObjectWrap<T>::Unwrap(value.As<Napi::Object>());
  }

 protected:
  // What make() was given. JavaScript can reach the constructor but can't make an External.
  template <typename Init>
  Init& init_of(const Napi::CallbackInfo& info) {
    if (info.Length() != 1 || !info[0].IsExternal()) {
      throw Napi::TypeError::New(info.Env(), "Illegal constructor");
    }
    info.This().As<Napi::Object>().TypeTag(&T::kTag);
    return *info[0].As<Napi::External<Init>>().Data();
  }

  using Method = Napi::Value (T::*)(const Napi::CallbackInfo&);

  template <Method method>
  static Napi::ClassPropertyDescriptor<T> method_of(const char* name) {
    return Napi::ObjectWrap<T>::InstanceMethod(name, static_cast<Method>(&Handle::template guarded_method<method>));
  }

 private:
  template <Method method>
  Napi::Value guarded_method(const Napi::CallbackInfo& info) {
    try {
      return (static_cast<T*>(this)->*method)(info);
    } catch (const NativeFailure& failure) {
      throw to_js_error(info.Env(), failure);
    }
  }
};

}  // namespace serval
