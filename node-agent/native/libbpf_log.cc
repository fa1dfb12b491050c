// SPDX-License-Identifier: Apache-2.0
#include "libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>

namespace serval {

namespace {

constexpr char kLogBegin[] = "-- BEGIN PROG LOAD LOG --\n";
constexpr char kLogEnd[] = "-- END PROG LOAD LOG --";
constexpr int kVerifierLines = 20;

thread_local LibbpfLog* current = nullptr;

int collect(enum libbpf_print_level level, const char* format, va_list arguments) {
  if (current == nullptr || level == LIBBPF_DEBUG) {
    return 0;
  }
  va_list again;
  va_copy(again, arguments);
  const int length = vsnprintf(nullptr, 0, format, arguments);
  if (length > 0) {
    std::string& text = current->text;
    const size_t before = text.size();
    text.resize(before + static_cast<size_t>(length) + 1);
    vsnprintf(&text[before], static_cast<size_t>(length) + 1, format, again);
    text.pop_back();
  }
  va_end(again);
  return length;
}

std::string last_lines(const std::string& text, int lines) {
  size_t from = text.size();
  while (from > 0 && text[from - 1] == '\n') {
    --from;
  }
  const size_t end = from;
  while (from > 0 && (text[from - 1] != '\n' || --lines > 0)) {
    --from;
  }
  return text.substr(from, end - from);
}

}  // namespace

LibbpfLog::LibbpfLog() : outer_(current) { current = this; }

LibbpfLog::~LibbpfLog() { current = outer_; }

void LibbpfLog::silence() { libbpf_set_print(collect); }

std::string LibbpfLog::verifier_log() const {
  const size_t begin = text.rfind(kLogBegin);
  if (begin == std::string::npos) {
    return {};
  }
  const size_t from = begin + sizeof(kLogBegin) - 1;
  return last_lines(text.substr(from, text.find(kLogEnd, from) - from), kVerifierLines);
}

std::string LibbpfLog::refused_program() const {
  const size_t said = text.find("': BPF program load failed");
  if (said == std::string::npos) {
    return {};
  }
  const size_t quote = text.rfind('\'', said - 1);
  return quote == std::string::npos ? std::string() : text.substr(quote + 1, said - quote - 1);
}

std::string LibbpfLog::messages() const {
  std::string rest = text;
  for (size_t begin; (begin = rest.find(kLogBegin)) != std::string::npos;) {
    const size_t line = rest.rfind('\n', begin) + 1;  // npos + 1 is 0: the first line
    const size_t end = rest.find(kLogEnd, begin);
    rest.erase(line, end == std::string::npos ? end : rest.find('\n', end) - line + 1);
  }
  std::string joined;
  for (size_t from = 0; from < rest.size();) {
    size_t end = rest.find('\n', from);
    end = end == std::string::npos ? rest.size() : end;
    std::string line = rest.substr(from, end - from);
    if (line.rfind("libbpf: ", 0) == 0) {
      line.erase(0, 8);
    }
    if (!line.empty()) {
      joined += (joined.empty() ? "" : "; ") + line;
    }
    from = end + 1;
  }
  return joined;
}

}  // namespace serval
