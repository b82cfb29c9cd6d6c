#include "upstream/peer.hpp"

#include "net/tls.hpp"

#include <boost/url/parse.hpp>

#include <fstream>
#include <sstream>

namespace gw::upstream {

result<trust> trust_in(const std::string& ca_file)
{
    auto context = net::client_context(ca_file);
    if (!context) {
        return fail(context);
    }
    std::ostringstream text;
    if (!ca_file.empty()) {
        text << std::ifstream(ca_file, std::ios::binary).rdbuf();
    }
    return trust{.context = *context, .content = std::hash<std::string>{}(text.str())};
}

void go_through(peer& to, const std::string& proxy)
{
    if (proxy.empty()) {
        return;
    }
    if (const auto parsed = boost::urls::parse_uri(proxy)) {
        to.proxy_host = std::string(parsed->host_address());
        to.proxy_port = parsed->port_number() != 0 ? parsed->port_number() : 3128;
    }
}

} // namespace gw::upstream
