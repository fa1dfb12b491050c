// SPDX-License-Identifier: Apache-2.0
#include "conntrack_table.h"

#include <algorithm>

#include "address.h"

namespace serval {

namespace {

// Reads what the constructor packs.
constexpr char kMakeEntries[] = R"js(
(function (numbers, text, count) {
  'use strict';
  const addresses = text.split(' ');
  const tuple = (protocol, address, n) => ({
    protocol,
    source: addresses[address],
    sourcePort: numbers[n],
    destination: addresses[address + 1],
    destinationPort: numbers[n + 1],
  });
  const entries = new Array(count);
  for (let i = 0, n = 0; i < count; i++, n += 9) {
    const protocol = numbers[n] === 6 ? 'tcp' : 'udp';
    entries[i] = {
      original: tuple(protocol, 4 * i, n + 1),
      reply: tuple(protocol, 4 * i + 2, n + 3),
      id: numbers[n + 5],
      mark: numbers[n + 6],
      status: numbers[n + 7],
      timeoutSeconds: numbers[n + 8],
    };
  }
  return entries;
})
)js";

constexpr size_t kNumbers = 9;
constexpr size_t kTypicalAddresses = 52;

}  // namespace

ConntrackTable::ConntrackTable(const std::vector<ConntrackEntry>& entries) {
  numbers_.reserve(entries.size() * kNumbers);
  addresses_.reserve(entries.size() * kTypicalAddresses);
  for (const ConntrackEntry& one : entries) {
    numbers_.insert(numbers_.end(), {one.original.protocol, one.original.source_port, one.original.destination_port,
                                     one.reply.source_port, one.reply.destination_port, one.id, one.mark, one.status,
                                     one.timeout_seconds});
    for (const ConntrackTuple* tuple : {&one.original, &one.reply}) {
      for (const Address* address : {&tuple->source, &tuple->destination}) {
        addresses_ += format_address(address->family, address->bytes.data()) + ' ';
      }
    }
  }
}

Napi::Value ConntrackTable::to_js(Napi::Env env) const {
  Napi::Uint32Array numbers = Napi::Uint32Array::New(env, numbers_.size());
  std::copy(numbers_.begin(), numbers_.end(), numbers.Data());
  const Napi::Function make = env.RunScript(kMakeEntries).As<Napi::Function>();
  return make.Call({numbers, Napi::String::New(env, addresses_),
                    Napi::Number::New(env, static_cast<double>(numbers_.size() / kNumbers))});
}

}  // namespace serval
