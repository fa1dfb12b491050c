// SPDX-License-Identifier: Apache-2.0
#include "netns_operations.h"

#include <net/if.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "address.h"
#include "arguments.h"
#include "bpf_link.h"
#include "bpf_program.h"
#include "conntrack.h"
#include "conntrack_table.h"
#include "descriptor.h"
#include "error.h"
#include "inject.h"
#include "link_attach.h"
#include "own_thread.h"
#include "sock_diag.h"
#include "socket_counts.h"
#include "socket_table.h"
#include "sysctl.h"

// Older than glibc's header.
#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace serval {

namespace {

struct Done {};

// ---- arguments

Napi::Array array_argument(const Napi::CallbackInfo& info, size_t index) {
  if (!info[index].IsArray()) {
    throw Napi::TypeError::New(info.Env(), "expected an array");
  }
  return info[index].As<Napi::Array>();
}

Napi::Object object_value(const Napi::Value& value) {
  if (!value.IsObject()) {
    throw Napi::TypeError::New(value.Env(), "expected an object");
  }
  return value.As<Napi::Object>();
}

std::string text_value(const Napi::Value& value) {
  if (!value.IsString()) {
    throw Napi::TypeError::New(value.Env(), "expected a string");
  }
  return value.As<Napi::String>().Utf8Value();
}

uint8_t protocol_value(const Napi::Value& value) {
  const std::string name = text_value(value);
  if (name != "tcp" && name != "udp") {
    throw Napi::TypeError::New(value.Env(), "'" + name + "' is neither tcp nor udp");
  }
  return name == "tcp" ? IPPROTO_TCP : IPPROTO_UDP;
}

// Undefined is all of them.
std::optional<std::unordered_set<uint32_t>> ports_value(const Napi::Value& value) {
  if (value.IsUndefined()) {
    return std::nullopt;
  }
  const Words words = words_value(value, "localPorts");
  return std::unordered_set<uint32_t>(words.data, words.data + words.size);
}

Direction direction_value(const Napi::Value& value) {
  const std::string name = text_value(value);
  if (name != "ingress" && name != "egress") {
    throw Napi::TypeError::New(value.Env(), "'" + name + "' is neither ingress nor egress");
  }
  return name == "ingress" ? Direction::kIngress : Direction::kEgress;
}

Address address_value(const Napi::Value& value) {
  const std::string text = text_value(value);
  const auto address = parse_address(text);
  if (!address) {
    throw Napi::TypeError::New(value.Env(), "'" + text + "' is not an IP address");
  }
  return *address;
}

uint16_t port_value(const Napi::Value& value) {
  return static_cast<uint16_t>(number_value(value, UINT16_MAX, "port"));
}

uint32_t ifindex_value(const Napi::Value& value) {
  return number_value(value, INT32_MAX, "ifindex");
}

ConntrackTuple tuple_value(const Napi::Value& value) {
  const Napi::Object object = object_value(value);
  ConntrackTuple tuple;
  tuple.protocol = protocol_value(object.Get("protocol"));
  // Conntrack knows packets, and a packet of a socket with IPv4-mapped addresses is IPv4.
  tuple.source = unmapped(address_value(object.Get("source")));
  tuple.destination = unmapped(address_value(object.Get("destination")));
  tuple.source_port = port_value(object.Get("sourcePort"));
  tuple.destination_port = port_value(object.Get("destinationPort"));
  if (tuple.source.family != tuple.destination.family) {
    throw Napi::TypeError::New(value.Env(), "the tuple's addresses are of two families");
  }
  return tuple;
}

void copy_address(const Napi::Value& value, int family, void* to) {
  const Address address = address_value(value);
  if (address.family != family) {
    throw Napi::TypeError::New(value.Env(), "the address is not of the socket's family");
  }
  std::memcpy(to, address.bytes.data(), address.size());
}

SocketRecord socket_value(const Napi::Value& value) {
  const Napi::Object object = object_value(value);
  SocketRecord record{};
  record.protocol = protocol_value(object.Get("protocol"));
  record.family = number_value(object.Get("family"), 6, "family") == 4 ? AF_INET : AF_INET6;
  copy_address(object.Get("localAddress"), record.family, record.id.idiag_src);
  copy_address(object.Get("remoteAddress"), record.family, record.id.idiag_dst);
  record.id.idiag_sport = htons(port_value(object.Get("localPort")));
  record.id.idiag_dport = htons(port_value(object.Get("remotePort")));
  record.id.idiag_if = ifindex_value(object.Get("interface"));
  record.inode = number_value(object.Get("inode"), UINT32_MAX, "inode");
  return record;
}

// ---- results

Napi::Value programs_to_js(Napi::Env env, const std::vector<AttachedProgram>& programs) {
  Napi::Array array = Napi::Array::New(env, programs.size());
  for (uint32_t i = 0; i < programs.size(); i++) {
    Napi::Object object = program_info(env, programs[i].info);
    object.Set("kind", programs[i].tcx ? "tcx" : "clsact");
    array[i] = object;
  }
  return array;
}

Napi::Object tuple_to_js(Napi::Env env, const ConntrackTuple& tuple) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("protocol", tuple.protocol == IPPROTO_TCP ? "tcp" : "udp");
  object.Set("source", format_address(tuple.source.family, tuple.source.bytes.data()));
  object.Set("sourcePort", tuple.source_port);
  object.Set("destination", format_address(tuple.destination.family, tuple.destination.bytes.data()));
  object.Set("destinationPort", tuple.destination_port);
  return object;
}

Napi::Value entry_to_js(Napi::Env env, const std::optional<ConntrackEntry>& entry) {
  if (!entry) {
    return env.Undefined();
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("original", tuple_to_js(env, entry->original));
  object.Set("reply", tuple_to_js(env, entry->reply));
  object.Set("id", entry->id);
  object.Set("mark", entry->mark);
  object.Set("status", entry->status);
  object.Set("timeoutSeconds", entry->timeout_seconds);
  return object;
}

Napi::Value injection_to_js(Napi::Env env, const InjectionResult& result) {
  Napi::Array refused = Napi::Array::New(env, result.refused.size());
  for (uint32_t i = 0; i < result.refused.size(); i++) {
    Napi::Object refusal = Napi::Object::New(env);
    refusal.Set("index", result.refused[i].index);
    refusal.Set("code", error_code(result.refused[i].error));
    refused[i] = refusal;
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("sent", result.sent);
  object.Set("refused", refused);
  return object;
}

Napi::Object port_to_js(Napi::Env env, const Address& address, uint16_t port) {
  Napi::Object object = Napi::Object::New(env);
  object.Set("family", address.family == AF_INET ? 4 : 6);
  object.Set("address", format_address(address.family, address.bytes.data()));
  object.Set("port", port);
  return object;
}

Napi::Value counts_to_js(Napi::Env env, const SocketCounts& counts) {
  Napi::Array listening = Napi::Array::New(env, counts.listening.size());
  for (uint32_t i = 0; i < counts.listening.size(); i++) {
    const ListeningPort& one = counts.listening[i];
    Napi::Object object = port_to_js(env, one.address, one.port);
    object.Set("backlog", one.backlog);
    object.Set("ipv6Only", one.ipv6_only);
    listening[i] = object;
  }
  Napi::Array connected = Napi::Array::New(env, counts.connected.size());
  for (uint32_t i = 0; i < counts.connected.size(); i++) {
    const ConnectedPort& one = counts.connected[i];
    Napi::Object object = port_to_js(env, one.address, one.port);
    object.Set("sockets", one.sockets);
    connected[i] = object;
  }
  Napi::Object object = Napi::Object::New(env);
  object.Set("listening", listening);
  object.Set("connected", connected);
  object.Set("cpuUs", static_cast<double>(counts.cpu_us));
  return object;
}

Napi::Value number_to_js(Napi::Env env, uint32_t number) { return Napi::Number::New(env, number); }
Napi::Value boolean_to_js(Napi::Env env, bool value) { return Napi::Boolean::New(env, value); }
Napi::Value done_to_js(Napi::Env env, const Done&) { return env.Undefined(); }

// ---- operations

struct NetnsIdentity {
  uint64_t inode;
  uint64_t cookie;
};

NetnsIdentity identity_of_this_netns() {
  struct stat status;
  if (stat("/proc/thread-self/ns/net", &status) != 0) {
    throw NativeFailure(errno, "stat(/proc/thread-self/ns/net)");
  }
  const Descriptor fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.open()) {
    throw NativeFailure(errno, "socket(AF_UNIX)");
  }
  uint64_t cookie = 0;
  socklen_t size = sizeof(cookie);
  // Before Linux 5.14 the option is unknown, and the cookie stays 0.
  getsockopt(fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size);
  return {status.st_ino, cookie};
}

Napi::Value netns_identity(const Napi::CallbackInfo& info) {
  return run_in_netns<NetnsIdentity>(info.Env(), string_argument(info, 0, "netnsIdentity"), identity_of_this_netns,
                                     [](Napi::Env env, const NetnsIdentity& identity) {
                                       Napi::Object object = Napi::Object::New(env);
                                       object.Set("inode", Napi::BigInt::New(env, identity.inode));
                                       object.Set("cookie", Napi::BigInt::New(env, identity.cookie));
                                       return object;
                                     });
}

Napi::Value interface_index(const Napi::CallbackInfo& info) {
  const auto find = [name = string_argument(info, 1, "interfaceIndex")] {
    const uint32_t index = if_nametoindex(name.c_str());
    if (index == 0) {
      throw NativeFailure(errno, "if_nametoindex(" + name + ")");
    }
    return index;
  };
  return run_in_netns<uint32_t>(info.Env(), string_argument(info, 0, "interfaceIndex"), find, number_to_js);
}

// A program's descriptor of its own, for JavaScript may close the handle while the thread runs.
Descriptor program_argument(const Napi::CallbackInfo& info, size_t index) {
  return duplicate(program_fd(info[index]), "dup(program)");
}

Napi::Value attach_tcx_in(const Napi::CallbackInfo& info) {
  auto attach = [ifindex = ifindex_value(info[1]), direction = direction_value(info[2]),
                 program = program_argument(info, 3)] { return attach_tcx(ifindex, direction, program.get()); };
  return run_in_netns<Descriptor>(
      info.Env(), string_argument(info, 0, "attachTcx"), std::move(attach),
      [](Napi::Env env, Descriptor& link) { return BpfLink::make(env, BpfLink::Init{std::move(link)}); });
}

ClsactFilter filter_arguments(const Napi::CallbackInfo& info, size_t handle) {
  return {ifindex_value(info[1]), direction_value(info[2]), number_value(info[handle], UINT32_MAX, "handle"),
          number_value(info[handle + 1], UINT16_MAX, "priority")};
}

Napi::Value attach_clsact_in(const Napi::CallbackInfo& info) {
  auto attach = [filter = filter_arguments(info, 4), program = program_argument(info, 3)] {
    attach_clsact(filter, program.get());
    return Done{};
  };
  return run_in_netns<Done>(info.Env(), string_argument(info, 0, "attachClsact"), std::move(attach), done_to_js);
}

Napi::Value detach_clsact_in(const Napi::CallbackInfo& info) {
  const auto detach = [filter = filter_arguments(info, 3)] { return detach_clsact(filter); };
  return run_in_netns<bool>(info.Env(), string_argument(info, 0, "detachClsact"), detach, boolean_to_js);
}

Napi::Value attached_programs_in(const Napi::CallbackInfo& info) {
  const auto list = [ifindex = ifindex_value(info[1]), direction = direction_value(info[2])] {
    return attached_programs(ifindex, direction);
  };
  return run_in_netns<std::vector<AttachedProgram>>(info.Env(), string_argument(info, 0, "attachedPrograms"), list,
                                                    programs_to_js);
}

Napi::Value list_sockets_in(const Napi::CallbackInfo& info) {
  const auto list = [protocol = protocol_value(info[1]), states = number_value(info[2], UINT32_MAX, "states"),
                     ports = ports_value(info[3])] { return SocketTable(list_sockets(protocol, states, ports)); };
  return run_in_netns<SocketTable>(info.Env(), string_argument(info, 0, "listSockets"), list,
                                   [](Napi::Env env, const SocketTable& table) { return table.to_js(env); });
}

Napi::Value count_sockets_in(const Napi::CallbackInfo& info) {
  const auto count = [protocol = protocol_value(info[1])] { return count_sockets(protocol); };
  return run_in_netns<SocketCounts>(info.Env(), string_argument(info, 0, "countSockets"), count, counts_to_js);
}

Napi::Value destroy_sockets_in(const Napi::CallbackInfo& info) {
  const Napi::Array records = array_argument(info, 1);
  std::vector<SocketRecord> sockets;
  for (uint32_t i = 0; i < records.Length(); i++) {
    const Napi::HandleScope scope(info.Env());
    sockets.push_back(socket_value(records.Get(i)));
  }
  auto destroy = [sockets = std::move(sockets)] { return destroy_sockets(sockets); };
  return run_in_netns<uint32_t>(info.Env(), string_argument(info, 0, "destroySockets"), std::move(destroy),
                                number_to_js);
}

Napi::Value lookup_conntrack_in(const Napi::CallbackInfo& info) {
  const auto lookup = [tuple = tuple_value(info[1])] { return lookup_conntrack(tuple); };
  return run_in_netns<std::optional<ConntrackEntry>>(info.Env(), string_argument(info, 0, "lookupConntrack"), lookup,
                                                     entry_to_js);
}

Napi::Value list_conntrack_in(const Napi::CallbackInfo& info) {
  const bool nat_only = !info[1].IsUndefined() && object_value(info[1]).Get("natOnly").ToBoolean();
  const auto list = [nat_only] { return ConntrackTable(list_conntrack(nat_only)); };
  return run_in_netns<ConntrackTable>(info.Env(), string_argument(info, 0, "listConntrack"), list,
                                      [](Napi::Env env, const ConntrackTable& table) { return table.to_js(env); });
}

Napi::Value delete_conntrack_in(const Napi::CallbackInfo& info) {
  const auto remove = [tuple = tuple_value(info[1])] { return delete_conntrack(tuple); };
  return run_in_netns<bool>(info.Env(), string_argument(info, 0, "deleteConntrack"), remove, boolean_to_js);
}

Napi::Value inject_in(const Napi::CallbackInfo& info) {
  const Napi::Array buffers = array_argument(info, 1);
  std::vector<std::vector<uint8_t>> packets;
  for (uint32_t i = 0; i < buffers.Length(); i++) {
    const Napi::HandleScope scope(info.Env());
    const Bytes bytes = bytes_value(buffers.Get(i), "inject");
    packets.emplace_back(bytes.data, bytes.data + bytes.size);
  }
  auto inject = [packets = std::move(packets)]() mutable { return inject_packets(packets); };
  return run_in_netns<InjectionResult>(info.Env(), string_argument(info, 0, "inject"), std::move(inject),
                                       injection_to_js);
}

Napi::Value sysctl_in(const Napi::CallbackInfo& info) {
  std::vector<std::string> pieces;
  if (!info[2].IsUndefined()) {
    const Napi::Array given = array_argument(info, 2);
    for (uint32_t i = 0; i < given.Length(); i++) {
      pieces.push_back(text_value(given.Get(i)));
    }
  }
  auto work = [name = string_argument(info, 1, "sysctl"), pieces = std::move(pieces)] { return sysctl(name, pieces); };
  return run_in_netns<std::string>(
      info.Env(), string_argument(info, 0, "sysctl"), std::move(work),
      [](Napi::Env env, const std::string& text) -> Napi::Value { return Napi::String::New(env, text); });
}

// Whatever is wrong with a call, it is told by the Promise.
template <Napi::Value (*operation)(const Napi::CallbackInfo&)>
Napi::Value promising(const Napi::CallbackInfo& info) {
  const auto rejected = [&](const Napi::Error& error) {
    const auto deferred = Napi::Promise::Deferred::New(info.Env());
    deferred.Reject(error.Value());
    return deferred.Promise();
  };
  try {
    return operation(info);
  } catch (const NativeFailure& failure) {
    return rejected(to_js_error(info.Env(), failure));
  } catch (const Napi::Error& error) {
    return rejected(error);
  }
}

template <Napi::Value (*operation)(const Napi::CallbackInfo&)>
void define(Napi::Env env, Napi::Object& exports, const char* name) {
  exports.Set(name, Napi::Function::New<promising<operation>>(env, name));
}

}  // namespace

void register_netns_operations(Napi::Env env, Napi::Object exports) {
  define<netns_identity>(env, exports, "netnsIdentity");
  define<interface_index>(env, exports, "interfaceIndex");
  define<attach_tcx_in>(env, exports, "attachTcx");
  define<attach_clsact_in>(env, exports, "attachClsact");
  define<detach_clsact_in>(env, exports, "detachClsact");
  define<attached_programs_in>(env, exports, "attachedPrograms");
  define<list_sockets_in>(env, exports, "listSockets");
  define<count_sockets_in>(env, exports, "countSockets");
  define<destroy_sockets_in>(env, exports, "destroySockets");
  define<lookup_conntrack_in>(env, exports, "lookupConntrack");
  define<list_conntrack_in>(env, exports, "listConntrack");
  define<delete_conntrack_in>(env, exports, "deleteConntrack");
  define<inject_in>(env, exports, "inject");
  define<sysctl_in>(env, exports, "sysctl");
}

}  // namespace serval
