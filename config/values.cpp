#include "config/values.hpp"

#include <boost/url/ipv4_address.hpp>
#include <boost/url/ipv6_address.hpp>
#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <optional>

namespace gw::config {
namespace {

struct unit
{
    std::string_view name;
    std::uint64_t factor;
};

// What a number with a unit is; nullopt when it is no such thing.
struct quantity
{
    std::uint64_t number = 0;
    std::string_view unit;
};

std::optional<quantity> split(std::string_view text)
{
    quantity made;
    const auto* const end = text.data() + text.size();
    const auto [stopped, error] = std::from_chars(text.data(), end, made.number);
    if (error != std::errc{}) {
        return std::nullopt;
    }
    made.unit = text.substr(static_cast<std::size_t>(stopped - text.data()));
    return made;
}

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool is_alphanumeric(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

bool is_visible(char c)
{
    return c > 0x20 && c < 0x7f;
}

std::string lower(std::string_view text)
{
    std::string out(text);
    std::ranges::transform(out, out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    });
    return out;
}

// A host name as DNS and /etc/hosts have them: labels of letters, digits, `-` and `_`.
bool is_host_name(std::string_view text)
{
    if (text.empty() || text.size() > 253 || text.front() == '.' || text.front() == '-') {
        return false;
    }
    const bool letters = std::ranges::all_of(text, [](char c) {
        return is_alphanumeric(c) || c == '-' || c == '_' || c == '.';
    });
    // All digits and dots, yet no IPv4 address: `127.1`, `256.0.0.1`. Resolvers read those in surprising
    // ways.
    const bool numeric = std::ranges::all_of(text, [](char c) { return is_digit(c) || c == '.'; });
    return letters && !numeric && text.find("..") == std::string_view::npos;
}

std::optional<std::uint16_t> parse_port(std::string_view text)
{
    const auto number = split(text);
    if (!number || !number->unit.empty() || number->number > std::numeric_limits<std::uint16_t>::max()) {
        return std::nullopt;
    }
    return static_cast<std::uint16_t>(number->number);
}

} // namespace

parsed<std::chrono::milliseconds> parse_duration(std::string_view text)
{
    static constexpr std::array units{
        unit{"ms", 1}, unit{"s", 1'000}, unit{"m", 60'000}, unit{"h", 3'600'000}
    };
    constexpr std::uint64_t most = 10'000ULL * 3'600'000ULL;

    const auto said = split(text);
    if (!said) {
        return std::unexpected("not a duration; write a whole number and a unit: `250ms`, `30s`, `5m`, `1h`");
    }
    if (said->unit.empty()) {
        if (said->number == 0) {
            return std::chrono::milliseconds(0);
        }
        const std::string number(text);
        return std::unexpected(
            "a duration without a unit; write `" + number + "s`, or `" + number + "ms`, `m`, `h`"
        );
    }
    for (const auto& each : units) {
        if (each.name == said->unit) {
            if (said->number > most / each.factor) {
                return std::unexpected("longer than 10000h");
            }
            return std::chrono::milliseconds(said->number * each.factor);
        }
    }
    return std::unexpected(
        "not a duration; units are `ms`, `s`, `m`, `h`, one to a value: `250ms`, `30s`, `5m`, `1h`"
    );
}

parsed<std::uint64_t> parse_size(std::string_view text)
{
    static constexpr std::array units{
        unit{"", 1},
        unit{"B", 1},
        unit{"KiB", 1ULL << 10U},
        unit{"MiB", 1ULL << 20U},
        unit{"GiB", 1ULL << 30U}
    };
    static constexpr std::array near{
        unit{"K", 0}, unit{"M", 0}, unit{"G", 0}, unit{"KB", 0}, unit{"MB", 0}, unit{"GB", 0}
    };
    constexpr std::uint64_t most = 1ULL << 40U;

    const auto said = split(text);
    if (!said) {
        return std::unexpected(
            "not a size; write bytes, or a whole number and a unit: `256KiB`, `10MiB`, `4GiB`"
        );
    }
    for (const auto& each : units) {
        if (each.name == said->unit) {
            if (said->number > most / each.factor) {
                return std::unexpected("larger than 1024GiB");
            }
            return said->number * each.factor;
        }
    }
    for (const auto& each : near) {
        if (lower(each.name) == lower(said->unit) ||
            lower(std::string(each.name) + "ib") == lower(said->unit)) {
            return std::unexpected(
                "not a size; did you mean `" + std::to_string(said->number) + each.name.front() + "iB`?"
            );
        }
    }
    return std::unexpected("not a size; units are `KiB`, `MiB`, `GiB`: `256KiB`, `10MiB`, `4GiB`");
}

parsed<std::uint64_t> parse_count(std::string_view text)
{
    const auto said = split(text);
    if (!said || !said->unit.empty()) {
        return std::unexpected("not a whole number");
    }
    return said->number;
}

parsed<url> parse_url(std::string_view text)
{
    const auto shape = [](std::string_view why) {
        return std::unexpected(
            "not a URL: " + std::string(why) + "; write `https://host`, `https://host:port/path`"
        );
    };
    const auto read = boost::urls::parse_uri(boost::core::string_view(text.data(), text.size()));
    if (!read) {
        return shape(
            text.find("://") == std::string_view::npos ? "it has no scheme" : "it does not follow RFC 3986"
        );
    }
    const std::string scheme = lower(std::string_view(read->scheme().data(), read->scheme().size()));
    if (scheme != "http" && scheme != "https") {
        return shape("the scheme must be `https` or `http`");
    }
    if (read->has_userinfo()) {
        return shape("a user name or password does not belong into it");
    }
    if (read->has_query() || read->has_fragment()) {
        return shape("a query or fragment does not belong into it");
    }

    url made;
    made.tls = scheme == "https";
    const bool bracketed = read->host_type() == boost::urls::host_type::ipv6;
    made.host = lower(read->host_address());
    if (!bracketed && read->host_type() != boost::urls::host_type::ipv4 && !is_host_name(made.host)) {
        return shape("the host is missing or no host name");
    }
    made.port = made.tls ? 443 : 80;
    if (read->has_port()) {
        const auto port = parse_port(std::string_view(read->port().data(), read->port().size()));
        if (!port || *port == 0) {
            return shape("the port must be 1 to 65535");
        }
        made.port = *port;
    }

    made.base_path = std::string(read->encoded_path().data(), read->encoded_path().size());
    if (!made.base_path.empty() && !made.base_path.starts_with('/')) { // Boost.URL lets `[::1]:8p80` through
        return shape("the port must be 1 to 65535");
    }
    while (made.base_path.ends_with('/')) {
        made.base_path.pop_back();
    }
    const std::string host = bracketed ? '[' + made.host + ']' : made.host;
    made.origin = (made.tls ? "https://" : "http://") + host + ':' + std::to_string(made.port);
    const bool usual = made.port == (made.tls ? 443 : 80);
    made.host_header = usual ? host : host + ':' + std::to_string(made.port);
    return made;
}

parsed<address> parse_address(std::string_view text)
{
    const auto shape = [](std::string_view why) {
        return std::unexpected(
            "no address: " + std::string(why) + "; write `HOST:PORT`, as in `127.0.0.1:8080` or `[::1]:8080`"
        );
    };
    const std::size_t colon = text.rfind(':');
    if (colon == std::string_view::npos || text.ends_with(']')) {
        return shape("it has no port");
    }
    std::string_view host = text.substr(0, colon);
    const auto port = parse_port(text.substr(colon + 1));
    if (!port) {
        return shape("the port must be 0 to 65535");
    }
    if (host.starts_with('[') && host.ends_with(']')) {
        host = host.substr(1, host.size() - 2);
        if (!boost::urls::parse_ipv6_address(boost::core::string_view(host.data(), host.size()))) {
            return shape("no IPv6 address stands in the brackets");
        }
        return address{.host = lower(host), .port = *port};
    }
    if (host.find(':') != std::string_view::npos) {
        return shape("an IPv6 address needs brackets");
    }
    if (host.empty() || host == "*") {
        return shape("it has no host (`0.0.0.0` is every IPv4 address of this machine)");
    }
    if (!boost::urls::parse_ipv4_address(boost::core::string_view(host.data(), host.size())) &&
        !is_host_name(host)) {
        return shape("the host is neither an address nor a name");
    }
    return address{.host = lower(host), .port = *port};
}

parsed<std::string> parse_proxy(std::string_view text)
{
    const auto read = parse_url(text);
    if (!read) {
        return std::unexpected("no proxy; write `http://HOST:PORT`, without a user name");
    }
    if (read->tls || !read->base_path.empty()) {
        return std::unexpected("no proxy: only HTTP CONNECT over `http://HOST:PORT` is supported");
    }
    return read->origin;
}

parsed<std::string> parse_pointer(std::string_view text)
{
    if (!text.empty() && text.front() != '/') {
        return std::unexpected(
            "not a JSON Pointer: it must begin with `/`, as in `/predictions/0` (empty: the whole answer)"
        );
    }
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '~' && (i + 1 == text.size() || (text[i + 1] != '0' && text[i + 1] != '1'))) {
            return std::unexpected("not a JSON Pointer: `~` must be written `~0`, and `/` in a name `~1`");
        }
    }
    return std::string(text);
}

parsed<std::string> parse_route(std::string_view text)
{
    const bool clean =
        std::ranges::all_of(text, [](char c) { return is_visible(c) && c != '#' && c != '\\'; });
    if (!text.starts_with('/') || !clean) {
        return std::unexpected("not a path: it must begin with `/` and hold no spaces, as in `/predict`");
    }
    return std::string(text);
}

bool is_name(std::string_view text)
{
    return !text.empty() && text.size() <= 64 && is_alphanumeric(text.front()) &&
           std::ranges::all_of(text, [](char c) {
               return is_alphanumeric(c) || c == '.' || c == '_' || c == '-';
           });
}

bool is_model_name(std::string_view text)
{
    if (text.empty() || text.size() > 256) {
        return false;
    }
    if (!std::ranges::all_of(text, [](char c) {
            return is_visible(c) && c != '"' && c != '\\' && c != '\'';
        })) {
        return false;
    }
    for (std::size_t at = 0; at <= text.size();) {
        const std::size_t end = std::min(text.find('/', at), text.size());
        const auto segment = text.substr(at, end - at);
        if (segment.empty() || segment == "." || segment == "..") {
            return false;
        }
        at = end + 1;
    }
    return true;
}

bool is_loopback(std::string_view host)
{
    if (lower(host) == "localhost") {
        return true;
    }
    const boost::core::string_view text(host.data(), host.size());
    if (const auto v4 = boost::urls::parse_ipv4_address(text)) {
        return v4->is_loopback() || v4->to_bytes()[0] == 127;
    }
    const auto v6 = boost::urls::parse_ipv6_address(text);
    return v6 && v6->is_loopback();
}

bool matches(std::string_view pattern, std::string_view name)
{
    // Greedy with one step back to the last `*`: linear in practice, quadratic at worst, no recursion.
    std::size_t p = 0;
    std::size_t n = 0;
    std::size_t star = std::string_view::npos;
    std::size_t resume = 0;
    while (n < name.size()) {
        if (p < pattern.size() && pattern[p] == '*') {
            star = p++;
            resume = n;
        } else if (p < pattern.size() && pattern[p] == name[n]) {
            ++p;
            ++n;
        } else if (star != std::string_view::npos) {
            p = star + 1;
            n = ++resume;
        } else {
            return false;
        }
    }
    while (p < pattern.size() && pattern[p] == '*') {
        ++p;
    }
    return p == pattern.size();
}

} // namespace gw::config
