// The end of a drain, while the cores are told of it one after the other.
#include "support/gateway.hpp"
#include "support/scripted_upstream.hpp"

#include <gmock/gmock.h>

namespace gw::test {
namespace {

using testing::HasSubstr;

TEST(Cut, WhoWaitsDoesNotTakeThePlaceOfOneThatWasCut)
{
    // Whoever connects first is never answered, whoever comes later at once.
    scripted_upstream up([](const std::string& bytes, int number) {
        return scripted_upstream::whole(bytes) && number > 1 ? scripted{scripted_upstream::json("[1]")}
                                                             : scripted{};
    });
    gateway here(
        "listen: 127.0.0.1:0\nadmin: 127.0.0.1:0\nupstreams:\n  up: { kind: dedicated, url: \"" + up.url() +
        "\", engine: toolkit, max_in_flight: 1 }\nmodels:\n  vit: { task: image-classification, route: [up] "
        "}\n"
    );
    const std::string request =
        gateway::post("/models/vit", "\x89PNG\r\n\x1a\n0000", "content-type: image/png\r\n");
    client first = here.connect();
    first.send(request);
    ASSERT_TRUE(eventually([&] { return up.pending().find("0000") != std::string::npos; }));
    client second = here.connect();
    second.send(request);
    ASSERT_TRUE(eventually([&] { return here.known.room.waiting() == 1; }));

    here.cut();
    first.close(); // what held the only slot ends
    const answer got = second.read();
    EXPECT_EQ(got.status, 429) << got.body;
    EXPECT_THAT(got.body, HasSubstr("overloaded"));
    EXPECT_EQ(up.connections(), 1) << "sent there only to be cut";
}

} // namespace
} // namespace gw::test
