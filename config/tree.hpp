// A YAML document as a tree that knows its lines. Duplicate keys, anchors, aliases, second documents and
// absurd depth or size are reported here; what the keys mean is not known here.
#pragma once

#include "config/load.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace gw::config {

constexpr std::size_t longest_policy = 16U << 20U; // bytes

struct node
{
    enum class type : std::uint8_t { null, scalar, sequence, map };
    struct key
    {
        std::string text;
        int line = 0;
    };

    type is = type::null;
    int line = 0;
    bool plain = true;     // scalar: stood without quotes, so that YAML's own types apply
    std::string text;      // scalar, as written: variables are not expanded
    std::vector<key> keys; // map: of `items`, in the order of the file, each once
    std::vector<node> items;

    // A map's value; null when it has no such key.
    [[nodiscard]] const node* find(std::string_view name) const;
};

[[nodiscard]] std::string_view to_string(node::type value); // `a list`, `a map`, ...

struct tree
{
    node root;
    std::vector<problem> problems; // with any syntax error the root is what stood before it: not to be used
    bool whole = true;
};

[[nodiscard]] tree read_tree(std::string_view yaml, std::string_view file_name);

// `base.key`, or `key` at the top.
[[nodiscard]] std::string join(std::string_view base, std::string_view key);

} // namespace gw::config
