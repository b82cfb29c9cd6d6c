// Which adapter speaks to which kind and engine.
#include "support.hpp"

#include "adapters/encode.hpp"

namespace gw::adapters {
namespace {

using namespace testing;
using config::engine;
using config::kind;

TEST(registry, what_is_not_spoken_says_so)
{
    const auto asked = json(R"({"inputs":"x"})", "fill-mask");
    for (const auto& to :
         {upstream(kind::space),
          upstream(kind::dedicated, engine::tgi),
          upstream(kind::dedicated, engine::tei),
          upstream(kind::local, engine::tgi)}) {
        const failure why = refused(asked->asked, at(to, asked->asked));
        EXPECT_EQ(why.what, code::unsupported);
        EXPECT_TRUE(why.text.contains("there")) << why.text;
        EXPECT_FALSE(adapter_for(to).can_stream(asked->asked, at(to, asked->asked)));
    }
}

TEST(registry, local_is_the_same_engine_elsewhere)
{
    for (const engine each : {engine::toolkit, engine::custom, engine::openai}) {
        EXPECT_EQ(&adapter_for(upstream(kind::local, each)), &adapter_for(upstream(kind::dedicated, each)));
    }
}

} // namespace
} // namespace gw::adapters
