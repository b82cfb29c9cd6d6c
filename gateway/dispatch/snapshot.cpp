#include "dispatch/core.hpp"
#include "net/tls.hpp"

#include <boost/url/parse.hpp>

#include <map>

namespace gw::dispatch {

result<std::shared_ptr<const snapshot>> make_snapshot(std::shared_ptr<const config::settings> policy)
{
    auto made = std::make_shared<snapshot>(policy);
    std::map<std::string, std::shared_ptr<boost::asio::ssl::context>> contexts; // by ca_file
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
            auto& context = contexts[each->ca_file];
            if (!context) {
                auto fresh = net::client_context(each->ca_file);
                if (!fresh) {
                    failure why = std::move(fresh).error();
                    why.text = "upstreams." + each->name + ": " + why.text;
                    return std::unexpected(std::move(why));
                }
                context = *fresh;
            }
            peer.tls = context;
        }
        if (!each->proxy.empty()) {
            const auto parsed = boost::urls::parse_uri(each->proxy);
            if (parsed) {
                peer.proxy_host = std::string(parsed->host_address());
                peer.proxy_port = parsed->port_number() != 0 ? parsed->port_number() : 3128;
            }
        }
        peer.key = each->run ? "worker " + each->name
                             : each->at.origin + " ca=" + each->ca_file + " proxy=" + each->proxy;
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
    return made;
}

} // namespace gw::dispatch
