#include "dispatch/core.hpp"
#include "net/tls.hpp"

#include <map>

namespace gw::dispatch {
result<std::shared_ptr<const snapshot>> make_snapshot(std::shared_ptr<const config::settings> policy)
{
    auto made = std::make_shared<snapshot>(policy);
    auto bases = std::make_shared<std::unordered_set<std::string>>();
    std::map<std::string, upstream::trust> trusts;              // by ca_file
    std::map<std::string, std::shared_ptr<secret_set>> secrets; // by origin; a worker is one of its own
    for (const auto& each : policy->upstreams) {
        auto& ours = secrets[each->run ? "worker " + each->name : each->at.origin];
        if (!ours) {
            ours = std::make_shared<secret_set>();
        }
        for (const auto* token : each->tokens) {
            ours->add(token->value.reveal());
        }
        made->secrets.emplace(each.get(), ours);

        upstream::peer peer;
        peer.host = each->at.host;
        peer.port = each->at.port;
        peer.host_header = each->at.host_header;
        peer.checks_private = each->checks_private;
        peer.idle = upstream::peer::idle_of(each->kind);
        if (each->at.tls && !each->run) {
            upstream::trust& roots = trusts[each->ca_file];
            if (!roots.context) {
                auto fresh = upstream::trust_in(each->ca_file);
                if (!fresh) {
                    failure why = std::move(fresh).error();
                    why.text = "upstreams." + each->name + ": " + why.text;
                    return std::unexpected(std::move(why));
                }
                roots = std::move(*fresh);
            }
            peer.tls = roots.context;
            peer.key = " ca=" + each->ca_file + "#" + std::to_string(roots.content);
        }
        upstream::go_through(peer, each->proxy);
        peer.key = each->run ? "worker " + each->name : each->at.origin + peer.key + " proxy=" + each->proxy;
        peer.base = peer.key;
        bases->insert(peer.base);
        made->peers.emplace(each.get(), std::move(peer));
    }
    for (const auto& each : policy->listen) {
        if (each.certificate.empty()) {
            made->listener_tls.emplace_back();
            continue;
        }
        auto context = net::server_context(each.certificate, each.key);
        if (!context) {
            failure why = std::move(context).error();
            why.text = "listen: " + why.text;
            return std::unexpected(std::move(why));
        }
        made->listener_tls.push_back(*context);
    }
    made->bases = std::move(bases);
    return made;
}

} // namespace gw::dispatch
