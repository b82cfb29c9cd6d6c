#include "support.hpp"

#include <gmock/gmock.h>

#include <atomic>
#include <memory>

namespace gw::workers {
namespace {

using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

// A policy with these upstreams, all on the route of the model org/m.
std::unique_ptr<config::settings> policy_of(std::vector<config::upstream> upstreams)
{
    auto made = std::make_unique<config::settings>();
    auto entry = std::make_unique<config::model_entry>();
    entry->name = "org/m";
    for (config::upstream& each : upstreams) {
        made->upstreams.push_back(std::make_unique<config::upstream>(std::move(each)));
        entry->route.push_back({.to = made->upstreams.back().get()});
    }
    made->models.push_back(std::move(entry));
    return made;
}

class reload : public process_test
{
};

TEST_F(reload, the_same_worker_lives_on)
{
    const auto before = policy_of({scripted(mark)});
    workers.keep(*before);
    const result<ready_worker> first = ensured(workers, *before->upstreams[0]);
    ASSERT_TRUE(first);

    auto after = policy_of({scripted(mark), scripted(mark, {}, "more")});
    workers.keep(*after);
    const result<ready_worker> second = ensured(workers, *after->upstreams[0]);
    ASSERT_TRUE(second);
    EXPECT_EQ(*second, *first);
    EXPECT_EQ(workers.ready(*after->upstreams[0], "org/m"), *first);
    EXPECT_THAT(marked(mark, "start"), SizeIs(1));
}

TEST_F(reload, its_new_times_apply_at_once)
{
    const auto before = policy_of({scripted(mark)});
    workers.keep(*before);
    ASSERT_TRUE(ensured(workers, *before->upstreams[0]));
    config::upstream shorter = scripted(mark);
    shorter.run->idle_stop = 200ms;
    const auto after = policy_of({shorter});
    workers.keep(*after);
    EXPECT_TRUE(eventually([&] { return status_of(workers).state == "stopped"; }));
    EXPECT_EQ(status_of(workers).last_end, "exited with status 0");
}

TEST_F(reload, a_changed_one_serves_what_it_has_and_the_new_starts_after_it)
{
    const auto before = policy_of({scripted(mark)});
    workers.keep(*before);
    const config::upstream& old_way = *before->upstreams[0];
    const result<ready_worker> first = ensured(workers, old_way);
    ASSERT_TRUE(first);
    lease held = workers.use(old_way, "org/m");
    ASSERT_TRUE(held);

    const auto after = policy_of({scripted(mark, {"--print", "new"})});
    workers.keep(*after);
    const config::upstream& new_way = *after->upstreams[0];
    EXPECT_FALSE(workers.use(new_way, "org/m")) << "the old process is not the new worker";
    std::atomic<std::uint64_t> second{0};
    workers.ensure(new_way, "org/m", [&](const result<ready_worker>& what) {
        second = what ? what->generation : 0;
    });

    // A request that began before the reload may come a little later still.
    EXPECT_TRUE(workers.use(old_way, "org/m"));
    EXPECT_TRUE(ensured(workers, old_way));
    EXPECT_TRUE(get(first->port, "/health"));
    EXPECT_THAT(marked(mark, "start"), SizeIs(1)) << "never two at a time";

    held.give_back();
    EXPECT_TRUE(eventually([&] { return second != 0; }));
    EXPECT_GT(second, first->generation);
    const std::string all = contents(mark);
    EXPECT_LT(all.find("term "), all.rfind("start ")) << all;
    EXPECT_THAT(workers.snapshot(), SizeIs(1)) << "the old one is forgotten";
    EXPECT_FALSE(workers.use(old_way, "org/m"));
    const result<ready_worker> late = ensured(workers, old_way);
    ASSERT_FALSE(late);
    EXPECT_THAT(late.error().text, HasSubstr("was removed by a reload"));
}

TEST_F(reload, a_removed_one_goes_and_those_who_wait_for_its_rest_are_told)
{
    const auto before = policy_of({scripted(mark, {"--exit", "1"})});
    workers.keep(*before);
    for (int call = 0; call < 3; ++call) {
        EXPECT_FALSE(ensured(workers, *before->upstreams[0])); // rests 400 ms now
    }
    std::atomic<bool> told{false};
    workers.ensure(*before->upstreams[0], "org/m", [&](const result<ready_worker>& what) {
        told = !what && what.error().text.contains("was removed by a reload");
    });
    workers.keep(*policy_of({}));
    EXPECT_TRUE(eventually([&] { return told.load(); }));
    EXPECT_THAT(workers.snapshot(), IsEmpty());
    EXPECT_THAT(marked(mark, "start"), SizeIs(3));
}

TEST_F(reload, one_that_is_named_again_in_time_lives_on)
{
    const auto policy = policy_of({scripted(mark)});
    const config::upstream& to = *policy->upstreams[0];
    workers.keep(*policy);
    const result<ready_worker> first = ensured(workers, to);
    ASSERT_TRUE(first);
    const lease held = workers.use(to, "org/m");
    workers.keep(*policy_of({}));
    workers.keep(*policy);
    const result<ready_worker> second = ensured(workers, to);
    ASSERT_TRUE(second);
    EXPECT_EQ(*second, *first);
}

} // namespace
} // namespace gw::workers
