// Only the exact key opens, in whichever of the two fields, and every wrong one is refused in the same words;
// without keys, only names of this machine are answered to. Fields stand in lines: Authorization, X-Api-Key,
// Host, Origin.
#include "auth/authenticate.hpp"
#include "config/digest.hpp"

#include "property.hpp"
#include "wire/field.hpp"

#include <algorithm>
#include <array>
#include <string>

using namespace gw;

namespace {

constexpr std::string_view key = "hf_k";

std::string lower(std::string_view text)
{
    std::string out{text};
    std::ranges::transform(out, out.begin(), [](char c) {
        return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
    });
    return out;
}

std::string_view trimmed(std::string_view text)
{
    const std::size_t first = text.find_first_not_of(" \t");
    return first == std::string_view::npos ? std::string_view{}
                                           : text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

config::settings closed()
{
    config::settings made;
    made.open = false;
    made.clients.push_back({.name = "other", .key_digests = {config::sha256("hf_other")}});
    made.clients.push_back({.name = "mine", .key_digests = {config::sha256("hf_old"), config::sha256(key)}});
    made.admin_key_digest = config::sha256(key);
    return made;
}

void check_keys(std::string_view authorization, std::string_view x_api_key)
{
    static const config::settings now = closed();
    static const auth::key_table known{now};
    authorization = trimmed(authorization);
    const bool bearer =
        lower(authorization.substr(0, 7)) == "bearer " && !trimmed(authorization.substr(7)).empty();
    const std::string_view said = bearer ? trimmed(authorization.substr(7)) : trimmed(x_api_key);
    const bool mine = said == key || said == "hf_old";

    const auto who = auth::authenticate(authorization, x_api_key, known);
    require(who.has_value() == (mine || said == "hf_other"), "the exact key opens");
    require(!who || (*who)->name == (mine ? "mine" : "other"), "and says who it is");
    require(auth::admin_allowed(authorization, x_api_key, now) == (said == key), "the admin's key too");
    if (!who) {
        static const auto wrong = auth::authenticate("Bearer x", "", known);
        static const auto none = auth::authenticate("", "", known);
        require(who.error().what == code::unauthenticated, "401");
        require(who.error().text == (said.empty() ? none : wrong).error().text, "in the same words");
    }
}

void check_local(std::string_view host, std::string_view origin)
{
    static const config::settings now; // open, on 127.0.0.1:8080
    const auto verdict = auth::check_local(host, origin, now);
    require(verdict || verdict.error().what == code::forbidden, "a refusal is 403");
    if (!verdict || !wire::valid_authority(host)) {
        return; // the head's scan refused it before
    }
    require(origin.empty(), "a web page is refused");
    const std::string name =
        lower(host.substr(0, host.starts_with('[') ? host.find(']') + 1 : host.find(':')));
    const bool v4 = name.starts_with("127.") && std::ranges::count(name, '.') == 3 &&
                    name.find_first_not_of("0123456789.") == std::string::npos;
    const bool v6 = name.starts_with('[') && name.find_first_not_of("[]0:1.27") == std::string::npos &&
                    name.contains('1');
    require(name == "localhost" || v4 || v6, "only this machine's own names");
}

} // namespace

GW_FUZZ(input)
{
    std::array<std::string_view, 4> fields;
    for (std::string_view& each : fields) {
        each = input.substr(0, input.find('\n'));
        input.remove_prefix(std::min(each.size() + 1, input.size()));
    }
    check_keys(fields[0], fields[1]);
    check_local(fields[2], fields[3]);
}
