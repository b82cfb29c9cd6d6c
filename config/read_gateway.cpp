// The gateway's own sections: listen, admin, clients, limits, spool, hub.
#include "config/digest.hpp"
#include "config/draft.hpp"
#include "config/keys.hpp"
#include "config/suggest.hpp"

#include <algorithm>
#include <tuple>

namespace gw::config {
namespace {

constexpr std::uint64_t kib = 1ULL << 10U;
constexpr std::uint64_t mib = 1ULL << 20U;
constexpr std::uint64_t gib = 1ULL << 30U;
constexpr std::uint64_t tib = 1ULL << 40U;

std::optional<address> read_address(const field& from)
{
    return from.parse("an address such as `127.0.0.1:8080`", &parse_address);
}

// A file that TLS needs, as an absolute path.
std::string read_file_name(const field& from)
{
    const auto said = from.text("a file's path");
    if (!said) {
        return {};
    }
    std::string path = absolute(from.in(), *said);
    if (!readable(path)) {
        from.report("cannot read `" + path + "`");
    }
    return path;
}

std::optional<listener> read_listener(const field& from)
{
    if (from.is(node::type::scalar)) {
        const auto at = read_address(from);
        return at ? std::optional(listener{.at = *at}) : std::nullopt;
    }
    const fields map(from, "an address, or a map with `address` and `tls`", keys::listener);
    if (!map.is_map()) {
        return std::nullopt;
    }
    std::optional<address> at;
    if (const auto said = map.get("address")) {
        at = read_address(*said);
    } else {
        from.report("lacks `address`");
    }
    listener made;
    if (const auto tls = map.get("tls")) {
        const fields files(*tls, "a map with `certificate` and `key`", keys::tls);
        if (const auto certificate = files.get("certificate")) {
            made.certificate = read_file_name(*certificate);
        }
        if (const auto key = files.get("key")) {
            made.key = read_file_name(*key);
        }
        if (files.is_map() && (!files.has("certificate") || !files.has("key"))) {
            tls->report("needs both `certificate` and `key`");
        }
    }
    if (!at) {
        return std::nullopt;
    }
    made.at = *at;
    return made;
}

} // namespace

void read_listen(const field& from, draft& into)
{
    std::vector<field> all{from};
    if (from.is(node::type::sequence)) {
        all = from.items("addresses");
        if (all.empty()) {
            from.report("names no address; leave the key out for 127.0.0.1:8080");
        }
    }
    for (const auto& each : all) {
        const auto made = read_listener(each);
        if (!made) {
            continue;
        }
        const bool again = std::ranges::any_of(into.listen, [&](const listener& other) {
            return other.at.port != 0 && other.at == made->at;
        });
        if (again) {
            each.report("this address is listened on already");
        }
        if (!into.open || is_loopback(made->at.host)) {
            into.listen.push_back(*made);
            continue;
        }
        each.report(
            "without `clients:` whoever reaches `" + made->at.host +
            "` could spend your tokens: listen on 127.0.0.1, or add `clients: { app: { keys: "
            "[\"sha256:...\"] } }` "
            "(`fourways keygen` makes a key and its line)"
        );
    }
}

void read_admin(const field& from, draft& into)
{
    std::optional<address> at;
    if (from.is(node::type::scalar)) {
        at = read_address(from);
    } else {
        const fields map(from, "an address, or a map with `address` and `key`", keys::admin);
        if (const auto said = map.get("address")) {
            at = read_address(*said);
        } else if (map.is_map()) {
            at = address{.host = "127.0.0.1", .port = 8081};
        }
        if (const auto key = map.get("key")) {
            // Its digest, as for clients, or the key itself from outside the file.
            const auto digest = key->is(node::type::scalar) ? parse_digest(key->at().text) : std::nullopt;
            if (digest) {
                into.admin_key_digest = *digest;
            } else if (const auto said = read_secret(*key)) {
                into.admin_key_digest = said->value.empty() ? std::string() : sha256(said->value.reveal());
            } else {
                return; // reported; without the key nothing can be said about the address
            }
        }
    }
    if (at && !is_loopback(at->host) && into.admin_key_digest.empty()) {
        from.report(
            "the admin listener on `" + at->host +
            "` needs a key: listen on 127.0.0.1, or write `admin: { address: ..., key: \"sha256:...\" }` "
            "(`fourways keygen` makes a key and its line)"
        );
    }
    if (at) {
        into.admin = *at;
    }
}

void read_clients(const field& from, draft& into)
{
    into.open = false;
    const auto all = from.members("a map of clients");
    if (all.empty() && from.is(node::type::map)) {
        from.report("names no client; leave the key out to serve this machine only, without keys");
    }
    std::vector<std::pair<std::string, std::string>> seen; // digest, client
    for (const auto& [name, value] : all) {
        client made{.name = name};
        if (!is_name(name)) {
            value.report(std::string(name_rule));
        }
        const fields map(value, "a map with `keys` and `models`", keys::client);
        if (const auto list = map.get("keys")) {
            const auto lines = list->texts("a list of `sha256:` lines");
            if (list->is(node::type::sequence) && list->at().items.empty()) {
                list->report("holds no key; `fourways keygen` makes one and its `sha256:` line");
            }
            for (const auto& line : lines) {
                const auto said = expand(line.at().text, from.in().env);
                if (!said) {
                    line.report(said.error());
                    continue;
                }
                const auto digest = parse_digest(*said);
                if (!digest) {
                    // What stands here may be the key itself: not printed.
                    line.report(
                        "expected `sha256:` and 64 hex digits; a key itself must not stand in this file "
                        "(`fourways keygen` makes a key and its line)"
                    );
                    continue;
                }
                const auto other =
                    std::ranges::find(seen, *digest, &std::pair<std::string, std::string>::first);
                if (other != seen.end()) {
                    line.report("this key is listed already, for `" + other->second + "`");
                }
                seen.emplace_back(*digest, name);
                made.key_digests.push_back(*digest);
            }
        } else if (map.is_map()) {
            value.report("lacks `keys`; `fourways keygen` makes a key and its `sha256:` line");
        }
        if (const auto list = map.get("models")) {
            if (list->is(node::type::sequence) && list->at().items.empty()) {
                list->report("lists nothing; leave `models` out to allow every model");
            }
            std::vector<std::string_view> names;
            for (const auto& each : into.models) {
                names.emplace_back(each.value.name);
                names.insert(names.end(), each.value.aliases.begin(), each.value.aliases.end());
            }
            for (const auto& each : list->texts("a list of models")) {
                const auto said = each.text("a model's name or pattern");
                if (!said) {
                    continue;
                }
                // An alias allows what it stands for, since what is compared later is the resolved name.
                std::string model = *said;
                bool known = model.find('*') != std::string::npos;
                for (const auto& entry : into.models) {
                    known = known || entry.value.name == model ||
                            (entry.value.pattern && matches(entry.value.name, model));
                    if (std::ranges::find(entry.value.aliases, *said) != entry.value.aliases.end()) {
                        model = entry.value.name;
                        known = true;
                    }
                }
                if (!known) {
                    each.report_value("no model of this policy" + did_you_mean(*said, names));
                }
                made.models.push_back(std::move(model));
            }
        }
        into.clients.push_back(std::move(made));
    }
}

void read_limits(const field& from, draft& into)
{
    const fields map(from, "a map of limits", keys::limits);
    auto& to = into.limits;
    map.size("header_bytes", to.header_bytes, kib, mib);
    map.count("header_fields", to.header_fields, 8, 10'000);
    map.size("target_bytes", to.target_bytes, 256, mib);
    map.size("payload_bytes", to.payload_bytes, 1, tib);
    map.size("json_bytes", to.json_bytes, kib, gib);
    map.count("json_depth", to.json_depth, 4, 1'000);
    map.count("json_tokens", to.json_tokens, 100, 1'000'000'000);
    map.size("response_header_bytes", to.response_header_bytes, kib, mib);
    map.count("response_header_fields", to.response_header_fields, 8, 10'000);
    map.count("response_interim", to.response_interim, 1, 1'000);
    map.duration("header_timeout", to.header_timeout);
    map.duration("body_grace", to.body_grace);
    map.size("body_min_rate", to.body_min_rate, 0, gib);
    map.duration("idle_timeout", to.idle_timeout);
    map.duration("write_timeout", to.write_timeout);
    if (const auto said = map.get("half_close")) {
        if (const auto word = said->text("`gone` or `keep`")) {
            to.half_close = *word == "keep";
            if (!to.half_close && *word != "gone") {
                said->report_value("expected `gone` (the client left) or `keep` (it still reads)");
            }
        }
    }
    map.count("connections", to.connections, 1, 10'000'000);
    map.count("connections_per_client", to.connections_per_client, 1, 10'000'000);
    map.duration("pre_stop", to.pre_stop, std::chrono::milliseconds(0));
    map.duration("drain", to.drain, std::chrono::milliseconds(0));
    map.duration("waiting_comment", to.waiting_comment);
    if (to.header_bytes < to.target_bytes) {
        from.report("`header_bytes` must not be smaller than `target_bytes`, which it holds");
    }
}

void read_spool(const field& from, draft& into)
{
    const fields map(from, "a map with `dir`, `memory_per_body`, `memory`, `disk`", keys::spool);
    auto& to = into.spool;
    if (const auto dir = map.get("dir")) {
        if (const auto said = dir->text("a directory")) {
            to.dir = absolute(from.in(), *said);
        }
    }
    map.size("memory_per_body", to.memory_per_body, 4 * kib, gib);
    map.size("memory", to.memory, 4 * kib, tib);
    map.size("disk", to.disk, 0, tib);
    if (to.memory_per_body > to.memory) {
        from.report("`memory_per_body` must not be larger than `memory`, which is for all bodies together");
    }
}

void read_hub(const field& from, draft& into)
{
    const fields map(from, "a map with `url`, `token`, `cache`, `ca_file`, `proxy`", keys::hub);
    auto& to = into.hub;
    to.on = true;
    if (const auto at = map.get("url")) {
        if (auto read = at->parse("a URL", &parse_url)) {
            to.at = std::move(*read);
            to.checks_private = false;
        }
    }
    if (const auto name = map.get("token")) {
        const auto said = name->text("a token's name");
        if (said && std::ranges::find(into.tokens, *said, &token::name) == into.tokens.end()) {
            std::vector<std::string_view> names;
            for (const auto& each : into.tokens) {
                names.emplace_back(each.name);
            }
            name->report_value("no token of `tokens:`" + did_you_mean(*said, names));
        } else if (said) {
            into.hub_token = *said;
            if (!to.checks_private && !to.at.tls && !is_loopback(to.at.host)) {
                map.get("url")->report(
                    "a token would travel to `" + to.at.host + "` in clear text; use `https://`"
                );
            }
        }
    }
    map.duration("cache", to.cache, std::chrono::milliseconds(0));
    read_way_out(map, to.ca_file, to.proxy);
}

} // namespace gw::config
