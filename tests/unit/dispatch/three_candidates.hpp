// What most tests of attempts begin with.
#pragma once

#include "world.hpp"

#include <gtest/gtest.h>

namespace gw::dispatch::testing {

// Three candidates, of which the first has two tokens.
class attempts_test : public ::testing::Test
{
protected:
    world w;
    config::token& acme = w.token("acme", "hf_one");
    config::token& spare = w.token("spare", "hf_two");
    config::upstream& router = w.upstream("router", config::kind::serverless, {&acme, &spare});
    config::upstream& vit = w.dedicated("vit");
    config::upstream& own = w.dedicated("own");
    policy::plan& plan = w.route({&router, &vit, &own});
};

} // namespace gw::dispatch::testing
