// "Did you mean": the nearest of the names that would have been right.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace gw::config {

// Letters to change, add, drop or swap with their neighbour, to make one of the other; `most + 1` when more
// than `most`.
[[nodiscard]] std::size_t edit_distance(std::string_view one, std::string_view other, std::size_t most);

// The name nearest to `said`, if it is near enough to be meant: a third of its letters, case aside. The first
// of equally near ones.
[[nodiscard]] std::optional<std::string_view>
nearest(std::string_view said, std::span<const std::string_view> names);

// `; did you mean `kind`?`, or nothing.
[[nodiscard]] std::string did_you_mean(std::string_view said, std::span<const std::string_view> names);

} // namespace gw::config
