// SPDX-License-Identifier: Apache-2.0
#include "socket_table.h"

#include <arpa/inet.h>

#include <algorithm>

#include "address.h"

namespace serval {

namespace {

// Reads what the constructor packs.
constexpr char kMakeRecords[] = R"js(
(function (numbers, text, count) {
  'use strict';
  const addresses = text.split(' ');
  const records = new Array(count);
  for (let i = 0, n = 0; i < count; i++, n += 10) {
    records[i] = {
      protocol: numbers[n] === 6 ? 'tcp' : 'udp',
      family: numbers[n + 1],
      localAddress: addresses[2 * i],
      localPort: numbers[n + 2],
      remoteAddress: addresses[2 * i + 1],
      remotePort: numbers[n + 3],
      state: numbers[n + 4],
      inode: numbers[n + 5],
      uid: numbers[n + 6],
      interface: numbers[n + 7],
      receiveQueue: numbers[n + 8],
      sendQueue: numbers[n + 9],
    };
  }
  return records;
})
)js";

constexpr size_t kNumbers = 10;
constexpr size_t kTypicalAddresses = 32;

}  // namespace

SocketTable::SocketTable(const std::vector<SocketRecord>& sockets) {
  numbers_.reserve(sockets.size() * kNumbers);
  addresses_.reserve(sockets.size() * kTypicalAddresses);
  for (const SocketRecord& one : sockets) {
    numbers_.insert(numbers_.end(),
                    {static_cast<uint32_t>(one.protocol), one.family == AF_INET ? 4U : 6U, ntohs(one.id.idiag_sport),
                     ntohs(one.id.idiag_dport), one.state, one.inode, one.uid, one.id.idiag_if, one.receive_queue,
                     one.send_queue});
    addresses_ += format_address(one.family, one.id.idiag_src) + ' ';
    addresses_ += format_address(one.family, one.id.idiag_dst) + ' ';
  }
}

Napi::Value SocketTable::to_js(Napi::Env env) const {
  Napi::Uint32Array numbers = Napi::Uint32Array::New(env, numbers_.size());
  std::copy(numbers_.begin(), numbers_.end(), numbers.Data());
  const Napi::Function make = env.RunScript(kMakeRecords).As<Napi::Function>();
  return make.Call({numbers, Napi::String::New(env, addresses_),
                    Napi::Number::New(env, static_cast<double>(numbers_.size() / kNumbers))});
}

}  // namespace serval
