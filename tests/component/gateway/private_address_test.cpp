// Where a name may lead: a built-in host that resolves to this machine or this network is refused, before a
// connection.
#include "support/gateway.hpp"

#include <gmock/gmock.h>

namespace gw::test {
namespace {

using testing::HasSubstr;

// The router at its built-in address, over TLS on port 443.
const std::string built_in =
    "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\ntokens: { t: { secret: \"${T}\" } }\n"
    "upstreams:\n  router: { kind: serverless, token: t, timeout: { connect: 50ms } }\n"
    "models:\n  org/vit: { task: image-classification, route: [router] }\n";

answer ask_with(const std::vector<std::string>& found)
{
    const auto lookup = [found](const std::string& host) {
        EXPECT_EQ(host, "router.huggingface.co");
        net::addresses made;
        for (const auto& each : found) {
            made.push_back(net::asio::ip::make_address(each));
        }
        return result<net::addresses>(made);
    };
    gateway here(built_in, {{"T", "hf_canary_0123456789"}}, 1, "/var/tmp", lookup);
    return here.ask(gateway::post("/models/org/vit", "\x89PNG\r\n\x1a\n0000", "content-type: image/png\r\n"));
}

TEST(PrivateAddress, ABuiltInHostDoesNotLeadInside)
{
    for (const auto* inside :
         {"127.0.0.1",
          "127.9.9.9",
          "0.0.0.0",
          "10.1.2.3",
          "172.16.0.1",
          "172.31.255.255",
          "192.168.1.1",
          "169.254.169.254",
          "100.64.0.1",
          "224.0.0.1",
          "255.255.255.255",
          "::1",
          "::",
          "fe80::1",
          "fc00::1",
          "fd12:3456::1",
          "ff02::1",
          "::ffff:127.0.0.1",
          "::ffff:10.0.0.1",
          "64:ff9b::a9fe:a9fe",
          "2002:7f00:1::",
          "::127.0.0.1"}) {
        EXPECT_TRUE(net::is_private(net::asio::ip::make_address(inside))) << inside;
    }
    for (const auto* inside : {"127.0.0.1", "::ffff:10.0.0.1"}) {
        const answer got = ask_with({inside});
        EXPECT_EQ(got.status, 502) << inside;
        EXPECT_THAT(got.body, HasSubstr("`router.huggingface.co` resolves to a private address")) << inside;
    }
}

TEST(PrivateAddress, OneSuchAddressAmongOthersIsEnough)
{
    EXPECT_THAT(ask_with({"203.0.113.7", "127.0.0.1"}).body, HasSubstr("private address"));
}

TEST(PrivateAddress, AddressesOutsideAreNoPrivateOnes)
{
    for (const auto* outside :
         {"203.0.113.7", "172.32.0.1", "100.128.0.1", "2001:db8::1", "64:ff9b::cb00:7107", "2002:cb00:7107::"
         }) {
        EXPECT_FALSE(net::is_private(net::asio::ip::make_address(outside))) << outside;
    }
}

} // namespace
} // namespace gw::test
