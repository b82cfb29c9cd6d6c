// A policy file, whatever it is, becomes settings or a list of problems, never both and never neither: each
// problem names the file, a line of it and what to do, and no secret; the settings keep their promises. Twice
// the same file is twice the same answer.
#include "config/load.hpp"
#include "config/values.hpp"

#include "property.hpp"

#include <algorithm>
#include <optional>
#include <string>

using namespace gw;
using namespace gw::config;

namespace {

constexpr std::string_view canary = "hf_CANARYCANARYCANARY";

std::optional<std::string> variable(std::string_view name)
{
    if (name == "HF_TOKEN") {
        return std::string{canary};
    }
    if (name == "EMPTY") {
        return "";
    }
    return name == "PORT" ? std::optional<std::string>{"8080"} : std::nullopt;
}

void check_problems(const std::vector<problem>& all, std::string_view input)
{
    require(!all.empty(), "a refusal has a reason");
    const auto lines = std::ranges::count(input, '\n') + std::ranges::count(input, '\r') + 2;
    int before = 0;
    for (const problem& each : all) {
        require(each.file == "/policy.yaml" && !each.text.empty(), "a problem names the file and itself");
        require(each.line >= before && each.line <= lines, "a line of the file, in order");
        require(each.line > 0 || each.path.empty(), "what has a path has a line");
        require(!to_string(each).contains(canary), "no secret");
        before = each.line;
    }
}

void check_settings(const settings& made)
{
    require(!made.models.empty() && !made.upstreams.empty() && !made.listen.empty(), "something to serve");
    for (const auto& each : made.models) {
        require(!each->route.empty(), "a route leads somewhere");
        require(each->pattern || made.find(each->name) == each.get(), "an entry is found by its name");
        for (const std::string& alias : each->aliases) {
            require(made.find(alias) == each.get(), "and by its aliases");
        }
        for (const route_entry& to : each->route) {
            require(
                to.to != nullptr && made.find_upstream(to.to->name) == to.to, "to an upstream that is there"
            );
        }
    }
    for (const auto& each : made.upstreams) {
        const bool sends_token = !each->tokens.empty() && !each->at.tls && !each->run;
        require(!sends_token || each->insecure_http || is_loopback(each->at.host), "no token in clear text");
        require(
            each->at.base_path.empty() ||
                (each->at.base_path.starts_with('/') && !each->at.base_path.ends_with('/')),
            "a base path"
        );
    }
    for (const auto& each : made.tokens) {
        require(
            std::ranges::all_of(each->value.reveal(), [](char c) { return c > 0x20 && c < 0x7f; }), "a token"
        );
    }
    for (const auto& each : made.listen) {
        require(!made.open || is_loopback(each.at.host), "without keys on loopback only");
        require(each.certificate.empty() == each.key.empty(), "TLS has both");
    }
    require(
        !made.admin_key_digest.empty() || is_loopback(made.admin.host), "admin without a key on loopback only"
    );
}

} // namespace

GW_FUZZ(input)
{
    const loaded made = load_text(input, "/policy.yaml", variable);
    const loaded again = load_text(input, "/policy.yaml", variable);
    require(made.has_value() == again.has_value(), "the same file has the same answer");
    if (made) {
        require(*made != nullptr, "settings are there");
        check_settings(**made);
        return;
    }
    check_problems(made.error(), input);
    require(
        std::ranges::equal(
            made.error(),
            again.error(),
            {},
            [](const problem& a) { return to_string(a); },
            [](const problem& a) { return to_string(a); }
        ),
        "and the same problems"
    );
}
