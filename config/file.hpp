// Files that settings come from: the policy, secrets, trusted roots.
#pragma once

#include <cstddef>
#include <expected>
#include <string>

namespace gw::config {

// The whole of a file, or why not, in words that follow its name: "cannot be read: Permission denied". A pipe
// is read to its end (`--config <(...)`); one that nobody writes to is given up after 5 s, so that no reload
// hangs.
//   most   bytes; more is an error, without reading on
[[nodiscard]] std::expected<std::string, std::string> read_file(const std::string& name, std::size_t most);

} // namespace gw::config
