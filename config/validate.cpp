#include "config/draft.hpp"
#include "config/keys.hpp"

#include <algorithm>
#include <array>

namespace gw::config {
namespace {

constexpr std::string_view hub_url = "https://huggingface.co";

// What a flag says stands in no file.
field flag_field(context& in, const node& value, std::string flag)
{
    return {in, value, std::move(flag), 0};
}

// Variables that change how the process speaks TLS or would be expected to: said, so that nobody is
// surprised.
void note_environment(const environment& env, std::vector<std::string>& notes)
{
    struct row
    {
        std::string_view name;
        std::string_view text;
    };
    static constexpr std::array rows{
        row{"SSL_CERT_FILE", "it decides which certificates are trusted where an upstream has no `ca_file`"},
        row{"SSL_CERT_DIR", "it decides which certificates are trusted where an upstream has no `ca_file`"},
        row{"OPENSSL_CONF", "it changes what TLS allows"},
        row{"SSLKEYLOGFILE", "it is not used: no TLS key is written anywhere"},
        row{"HTTPS_PROXY", "it is not used; write `proxy:` at an upstream"},
        row{"https_proxy", "it is not used; write `proxy:` at an upstream"},
    };
    for (const auto& each : rows) {
        if (const auto value = env(each.name); value && !value->empty()) {
            notes.push_back(
                "the environment sets `" + std::string(each.name) + "`: " + std::string(each.text)
            );
        }
    }
}

} // namespace

draft validate(const field& root, const overrides& flags)
{
    draft made;
    note_environment(root.in().env, made.notes);
    const fields map(root, "a map with `upstreams` and `models`", keys::top);

    made.hub.at = *parse_url(hub_url);

    // Later sections refer to earlier ones.
    if (const auto at = map.get("tokens")) {
        read_tokens(*at, made);
    }
    if (const auto at = map.get("upstreams")) {
        read_upstreams(*at, made);
    } else if (map.is_map()) {
        root.report("lacks `upstreams`, as in `upstreams: { router: { kind: serverless, token: acme } }`");
    }
    if (const auto at = map.get("models")) {
        read_models(*at, made);
    } else if (map.is_map()) {
        root.report("lacks `models`, as in `models: { \"*\": { route: [router] } }`");
    }
    if (const auto at = map.get("clients")) {
        read_clients(*at, made);
    }
    if (const auto at = map.get("limits")) {
        read_limits(*at, made);
    }
    if (const auto at = map.get("spool")) {
        read_spool(*at, made);
    }
    if (const auto at = map.get("hub")) {
        read_hub(*at, made);
    }

    // Flags replace what the file says; the same rules hold.
    context outside{.file = {}, .directory = root.in().directory, .env = root.in().env};
    if (flags.listen) {
        const node value{.is = node::type::scalar, .text = *flags.listen};
        read_listen(flag_field(outside, value, "--listen"), made);
    } else if (const auto at = map.get("listen")) {
        read_listen(*at, made);
    } else {
        made.listen = settings().listen;
    }
    if (const auto at = map.get("admin")) {
        // With a flag for the address, the file's key still counts.
        read_admin(*at, made);
    }
    if (flags.admin) {
        const node value{.is = node::type::scalar, .text = *flags.admin};
        read_admin(flag_field(outside, value, "--admin"), made);
    }
    auto& problems = root.in().problems;
    problems.insert(problems.end(), outside.problems.begin(), outside.problems.end());

    const address admin = made.admin.value_or(settings().admin);
    const bool taken = std::ranges::any_of(made.listen, [&](const listener& each) {
        return admin.port != 0 && each.at == admin;
    });
    if (taken) {
        map.get("admin").value_or(root).report(
            "the admin listener needs an address of its own, unlike `listen`"
        );
    }
    return made;
}

std::vector<std::string> known_keys()
{
    std::vector<std::string> out;
    const auto add = [&](std::string_view base, auto... lists) {
        const auto each_of = [&](const auto& list) {
            for (const auto name : list) {
                out.push_back(join(base, name));
            }
        };
        (each_of(lists), ...);
    };
    add("", keys::top);
    add("listen[]", keys::listener);
    add("listen[].tls", keys::tls);
    add("admin", keys::admin);
    add("tokens.*", keys::token);
    add("upstreams.*",
        keys::any_upstream,
        keys::remote,
        keys::engine,
        keys::probe,
        keys::waking,
        keys::worker,
        keys::space);
    add("upstreams.*.timeout", keys::timeout);
    add("models.*", keys::model);
    add("models.*.route[]", keys::route);
    add("models.*.fallback", keys::fallback);
    add("clients.*", keys::client);
    add("limits", keys::limits);
    add("spool", keys::spool);
    add("hub", keys::hub);
    std::ranges::sort(out);
    return out;
}

} // namespace gw::config
