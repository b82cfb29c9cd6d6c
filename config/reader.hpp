// Reads a tree of values with the errors a person needs: every read that fails reports file, line, path and
// what would be right, and leaves the target as it was, so that all mistakes of a file are found in one go.
#pragma once

#include "config/load.hpp"
#include "config/tree.hpp"
#include "config/values.hpp"

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace gw::config {

// What a whole load shares.
struct context
{
    std::string file;
    std::string directory; // absolute; relative paths start here
    const environment& env;
    std::vector<problem> problems{};
};

// `./a` and `a` start at the file's directory.
[[nodiscard]] std::string absolute(const context& in, std::string_view path);

// A regular file that can be opened.
[[nodiscard]] bool readable(const std::string& path);

// Replaces `${NAME}` and `${NAME:-default}` (when unset or empty); `$${` is `${`. A failure names the
// variable.
[[nodiscard]] parsed<std::string> expand(std::string_view raw, const environment& env);

// One value and where it stands. Borrows the tree and the context.
class field
{
public:
    field(context& in, const node& at, std::string path, int line)
        : in_(&in), at_(&at), path_(std::move(path)), line_(line)
    {
    }

    [[nodiscard]] context& in() const { return *in_; }
    [[nodiscard]] const node& at() const { return *at_; }
    [[nodiscard]] const std::string& path() const { return path_; }
    [[nodiscard]] int line() const { return line_; }
    [[nodiscard]] bool is(node::type type) const { return at_->is == type; }

    void report(std::string text) const;
    // The same with the value as it is written in the file in front; not for secrets.
    void report_value(std::string_view text) const;
    // `expected a list of upstreams, found a map`
    void report_type(std::string_view expected) const;

    // The scalar with its variables expanded. `expected`: `a duration such as `30s``.
    [[nodiscard]] std::optional<std::string> text(std::string_view expected) const;
    [[nodiscard]] std::optional<std::chrono::milliseconds>
    duration(std::chrono::milliseconds least = std::chrono::milliseconds(1)) const;
    [[nodiscard]] std::optional<std::uint64_t> size(std::uint64_t least, std::uint64_t most) const;
    [[nodiscard]] std::optional<std::uint64_t> count(std::uint64_t least, std::uint64_t most) const;
    [[nodiscard]] std::optional<bool> flag() const;
    // The index of the name that was said.
    [[nodiscard]] std::optional<std::size_t>
    choice(std::string_view what, std::span<const std::string_view> names) const;
    // Any of the parse functions of values.hpp.
    template <class T>
    [[nodiscard]] std::optional<T> parse(std::string_view expected, parsed<T> (*read)(std::string_view)) const
    {
        const auto said = text(expected);
        if (!said) {
            return std::nullopt;
        }
        auto made = read(*said);
        if (!made) {
            report_value(std::move(made).error());
            return std::nullopt;
        }
        return std::move(*made);
    }

    // The members of a list, or nothing with a report.
    [[nodiscard]] std::vector<field> items(std::string_view expected) const;
    // The members of a map whose keys are names of the operator's own, or nothing with a report.
    struct named;
    [[nodiscard]] std::vector<named> members(std::string_view expected) const;
    // The texts of a list of scalars; those that are none are reported.
    [[nodiscard]] std::vector<field> texts(std::string_view expected) const;

private:
    context* in_;
    const node* at_;
    std::string path_;
    int line_;
};

struct field::named
{
    std::string name;
    field value;
};

// The members of a map whose keys are known. Unknown ones are reported when it is made; anything but a map
// too.
class fields
{
public:
    fields(const field& of, std::string_view expected, std::span<const std::string_view> known);

    [[nodiscard]] bool has(std::string_view key) const { return at_ != nullptr && at_->find(key) != nullptr; }
    [[nodiscard]] std::optional<field> get(std::string_view key) const;
    // The map itself, for reports of what is missing in it.
    [[nodiscard]] const field& self() const { return self_; }
    [[nodiscard]] bool is_map() const { return at_ != nullptr; }

    void duration(
        std::string_view key,
        std::chrono::milliseconds& into,
        std::chrono::milliseconds least = std::chrono::milliseconds(1)
    ) const;
    void size(std::string_view key, std::uint64_t& into, std::uint64_t least, std::uint64_t most) const;
    void count(std::string_view key, std::size_t& into, std::uint64_t least, std::uint64_t most) const;
    void flag(std::string_view key, bool& into) const;

private:
    field self_;
    const node* at_; // null: not a map
};

// `ca_file` and `proxy` of a place that is asked over the network.
void read_way_out(const fields& map, std::string& ca_file, std::string& proxy);

} // namespace gw::config
