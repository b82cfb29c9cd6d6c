// Durations, sizes, URLs, addresses, pointers, routes, names and patterns as a policy or a header writes
// them: what is taken is within its bounds, reads back as it was and is safe where it goes; a pattern matches
// as the slow definition says.
#include "config/values.hpp"
#include "config/digest.hpp"
#include "config/reader.hpp"
#include "dialects/reading.hpp"

#include "property.hpp"
#include "wire/field.hpp"
#include "wire/target.hpp"

#include <algorithm>
#include <string>
#include <vector>

using namespace gw;
using namespace gw::config;

namespace {

void check_timeout(std::string_view input)
{
    wire::request_head head;
    head.timeout = input.data() != nullptr ? input : "";
    const auto asked = dialects::begin(dialect_id::native, {}, head);
    const auto same = parse_duration(input);
    using namespace std::chrono_literals;
    if (asked) {
        require(
            asked->timeout && *asked->timeout >= 1ms && *asked->timeout <= 24h, "a timeout within bounds"
        );
        require(!same || *same == *asked->timeout, "a header's duration is a policy's duration");
    } else {
        require(
            asked.error().what == code::rejected && asked.error().param == "x-fourways-timeout", "a refusal"
        );
        require(!same || *same < 1ms || *same > 24h, "what a policy takes within bounds, a header takes");
    }
}

void check_url(std::string_view input)
{
    const auto made = parse_url(input);
    if (!made) {
        return;
    }
    require(wire::valid_authority(made->host_header), "a host fit for a head");
    require(made->base_path.empty() || made->base_path.starts_with('/'), "a base path");
    require(
        std::ranges::all_of(
            made->base_path, [](char c) { return c > 0x20 && c < 0x7f && c != '#' && c != '?'; }
        ),
        "fit for a request line"
    );
    require(made->port != 0, "a port");
    const auto again = parse_url(made->origin + made->base_path);
    require(
        again && again->origin == made->origin && again->base_path == made->base_path,
        "it reads back as it was"
    );
    require(again->host == made->host && again->host_header == made->host_header, "its host too");
}

void check_address(std::string_view input)
{
    const auto made = parse_address(input);
    if (!made) {
        return;
    }
    const bool v6 = made->host.contains(':');
    const auto again =
        parse_address((v6 ? "[" + made->host + "]" : made->host) + ":" + std::to_string(made->port));
    require(again && *again == *made, "an address reads back as it was");
}

bool matches_slowly(std::string_view pattern, std::string_view name)
{
    // one row per character of the pattern: which prefixes of the name it matches
    std::vector<bool> row(name.size() + 1, false);
    row[0] = true;
    for (const char c : pattern) {
        std::vector<bool> next(name.size() + 1, false);
        for (std::size_t i = 0; i <= name.size(); ++i) {
            next[i] = c == '*' ? row[i] || (i > 0 && next[i - 1]) : i > 0 && row[i - 1] && name[i - 1] == c;
        }
        row = std::move(next);
    }
    return row[name.size()];
}

} // namespace

GW_FUZZ(input)
{
    check_timeout(input);
    check_url(input);
    check_address(input);
    if (const auto made = parse_size(input)) {
        require(*made <= 1ULL << 40U && parse_size(std::to_string(*made)) == *made, "a size within bounds");
    }
    if (const auto made = parse_duration(input)) {
        require(*made <= std::chrono::hours(10'000) && made->count() >= 0, "a duration within bounds");
        require(parse_duration(std::to_string(made->count()) + "ms") == *made, "it reads back as it was");
    }
    if (const auto made = parse_proxy(input)) {
        require(made->starts_with("http://") && !made->substr(7).contains('/'), "a proxy is an origin");
    }
    if (const auto made = parse_route(input)) {
        require(made->starts_with('/') && !made->contains(' ') && wire::valid_value(*made), "a route");
    }
    (void)parse_pointer(input);
    (void)parse_count(input);
    (void)parse_digest(input);
    if (is_model_name(input)) {
        const std::string walked = "/" + std::string{input} + "/";
        require(
            !walked.contains("//") && !walked.contains("/../") && !walked.contains("/./"), "no walk in a name"
        );
        require(wire::valid_value(input), "a name fit for a head");
    }
    if (is_name(input)) {
        require(wire::valid_name(input), "a name is a token");
    }

    const std::size_t cut = std::min(input.find('\n'), input.size());
    const std::string_view pattern = input.substr(0, std::min<std::size_t>(cut, 40));
    const std::string_view name = input.substr(std::min(cut + 1, input.size())).substr(0, 200);
    require(matches(pattern, name) == matches_slowly(pattern, name), "a pattern matches as defined");

    const auto text = expand(input, [](std::string_view variable) -> std::optional<std::string> {
        return variable == "A" ? std::optional<std::string>{"${B}"} : std::nullopt;
    });
    require(text || !text.error().empty(), "a variable that is not there is told");
    require(input.contains("${") || (text && *text == input), "text without variables stays");
}
