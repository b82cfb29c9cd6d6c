// SHA-256 and what is made of it: key digests, and short hashes by which state is kept over a reload.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>

namespace gw::config {

// The 32 raw bytes.
[[nodiscard]] std::string sha256(std::string_view bytes);

// Lower case, two digits a byte.
[[nodiscard]] std::string to_hex(std::string_view bytes);

// `sha256:` and 64 hex digits of either case -> the 32 raw bytes; nullopt for anything else.
[[nodiscard]] std::optional<std::string> parse_digest(std::string_view text);

// 64 bits that differ when the parts differ; no two lists of parts run together.
[[nodiscard]] std::uint64_t hash_of(std::initializer_list<std::string_view> parts);

} // namespace gw::config
