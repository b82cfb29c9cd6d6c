#include "runtime/reload.hpp"

#include "config/values.hpp"

#include <algorithm>

namespace gw::runtime {
namespace {

reloaded refused(std::string why)
{
    return {.next = {}, .problems = {std::move(why)}, .warnings = {}};
}

} // namespace

reloaded load_again(const options& how, const config::settings& bound, const dispatch::snapshot& now)
{
    if (how.config.empty()) {
        return refused("there is no policy file to load again");
    }
    const auto loaded = config::load_file(how.config, how.environment, how.flags);
    if (!loaded) {
        reloaded bad;
        for (const auto& each : loaded.error()) {
            bad.problems.push_back(config::to_string(each));
        }
        return bad;
    }
    const config::settings& next = **loaded;

    // The sockets stay those of the start. What other machines reach is never served without a key, even when
    // the new policy has it elsewhere.
    const bool shown = std::ranges::any_of(bound.listen, [](const auto& each) {
        return !config::is_loopback(each.at.host);
    });
    if ((shown && next.open) || (!config::is_loopback(bound.admin.host) && next.admin_key_digest.empty())) {
        return refused(
            how.config +
            ": without keys, and the gateway listens on an address that is not loopback: another address "
            "needs a restart"
        );
    }
    auto made = dispatch::make_snapshot(*loaded);
    if (!made) {
        return refused(how.config + ": " + made.error().text);
    }

    reloaded good{.next = *made, .problems = {}, .warnings = {}};
    const bool same_listeners =
        std::ranges::equal(next.listen, bound.listen, [](const auto& a, const auto& b) {
            return a.at == b.at && a.certificate.empty() == b.certificate.empty();
        });
    if (!same_listeners) {
        auto kept = std::make_shared<dispatch::snapshot>(**made);
        kept->listener_tls = now.listener_tls;
        good.next = std::move(kept);
    }
    const auto needs_restart = [&good](std::string_view what) {
        good.warnings.push_back(
            std::string(what) + " needs a restart; the rest of the policy is used from now on"
        );
    };
    if (!same_listeners || next.admin != bound.admin) {
        needs_restart("another listen or admin address");
    }
    if (next.spool != bound.spool) {
        needs_restart("another `spool`");
    }
    return good;
}

} // namespace gw::runtime
