// The sample policies load, and full.yaml holds every key there is.
#include "config/tree.hpp"
#include "fixture.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace gw::config {
namespace {

namespace fs = std::filesystem;
const std::string folder = GW_SOURCE_DIR "/config/examples";

std::string text_of(const fs::path& file)
{
    std::ifstream in(file);
    std::ostringstream out;
    out << in.rdbuf();
    return out.str();
}

// A copy of the examples with the certificates and secrets that they name beside them.
class examples : public testing::Test
{
protected:
    void SetUp() override
    {
        std::string pattern = (fs::temp_directory_path() / "fourways-examples-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        copy_ = pattern;
        fs::copy(folder, copy_);
        for (const auto* name :
             {"certs/gateway.pem",
              "certs/gateway.key",
              "certs/company.pem",
              "secrets/hf_spare",
              "secrets/hf_research"}) {
            fs::create_directories((copy_ / name).parent_path());
            std::ofstream(copy_ / name) << "hf_from_a_file\n";
        }
    }
    void TearDown() override { fs::remove_all(copy_); }

    [[nodiscard]] loaded load(const std::string& name) const
    {
        return load_file(
            (copy_ / name).string(),
            fake_environment(
                {{"HF_TOKEN_SEARCH", "hf_search"}, {"VIT_URL", "https://abc.endpoints.huggingface.cloud"}}
            )
        );
    }

    fs::path copy_;
};

TEST_F(examples, all_load)
{
    int count = 0;
    for (const auto& each : fs::directory_iterator(copy_)) {
        if (each.path().extension() == ".yaml") {
            EXPECT_THAT(sentences(load(each.path().filename())), testing::IsEmpty());
            ++count;
        }
    }
    EXPECT_GE(count, 4);
}

// Paths of the keys in a tree, as known_keys() writes them: names that the operator chose become `*`.
void collect(const node& at, const std::string& path, std::set<std::string>& into)
{
    static const std::set<std::string> named{"tokens", "upstreams", "models", "clients", "upstreams.*.env"};
    if (path == "upstreams.*.request") {
        return;
    }
    for (std::size_t i = 0; i < at.items.size(); ++i) {
        if (at.is == node::type::sequence) {
            // Equal ranks are lists in a list: the same keys.
            collect(at.items[i], path.ends_with("[]") ? path : path + "[]", into);
            continue;
        }
        const std::string next = join(path, named.contains(path) ? std::string("*") : at.keys[i].text);
        into.insert(next);
        collect(at.items[i], next, into);
    }
}

TEST_F(examples, full_holds_every_key)
{
    const std::string text = text_of(folder + "/full.yaml");
    const tree read = read_tree(text, "full.yaml");
    ASSERT_TRUE(read.whole);
    std::set<std::string> found;
    collect(read.root, "", found);

    for (const auto& key : known_keys()) {
        if (key == "upstreams.*.space" || key == "upstreams.*.api_name") {
            EXPECT_THAT(text, testing::HasSubstr(key.substr(key.rfind('.') + 1) + ":"))
                << "not even mentioned";
            continue;
        }
        EXPECT_TRUE(found.contains(key)) << key << " is not in full.yaml";
    }
}

TEST_F(examples, full_says_the_defaults)
{
    const auto made = load("full.yaml");
    ASSERT_TRUE(made.has_value());
    const settings plain;
    const limits& said = (*made)->limits;
    EXPECT_EQ(said.header_bytes, plain.limits.header_bytes);
    EXPECT_EQ(said.header_fields, plain.limits.header_fields);
    EXPECT_EQ(said.target_bytes, plain.limits.target_bytes);
    EXPECT_EQ(said.payload_bytes, plain.limits.payload_bytes);
    EXPECT_EQ(said.json_bytes, plain.limits.json_bytes);
    EXPECT_EQ(said.json_depth, plain.limits.json_depth);
    EXPECT_EQ(said.json_tokens, plain.limits.json_tokens);
    EXPECT_EQ(said.response_header_bytes, plain.limits.response_header_bytes);
    EXPECT_EQ(said.response_header_fields, plain.limits.response_header_fields);
    EXPECT_EQ(said.response_interim, plain.limits.response_interim);
    EXPECT_EQ(said.header_timeout, plain.limits.header_timeout);
    EXPECT_EQ(said.body_grace, plain.limits.body_grace);
    EXPECT_EQ(said.body_min_rate, plain.limits.body_min_rate);
    EXPECT_EQ(said.idle_timeout, plain.limits.idle_timeout);
    EXPECT_EQ(said.write_timeout, plain.limits.write_timeout);
    EXPECT_EQ(said.half_close, plain.limits.half_close);
    EXPECT_EQ(said.connections, 4096U); // what 0 stands for, unless few files may be open
    EXPECT_EQ(plain.limits.connections, 0U);
    EXPECT_EQ(said.connections_per_client, plain.limits.connections_per_client);
    EXPECT_EQ(said.pre_stop, plain.limits.pre_stop);
    EXPECT_EQ(said.drain, plain.limits.drain);
    EXPECT_EQ(said.waiting_comment, plain.limits.waiting_comment);
    EXPECT_EQ((*made)->spool.dir, plain.spool.dir);
    EXPECT_EQ((*made)->spool.memory_per_body, plain.spool.memory_per_body);
    EXPECT_EQ((*made)->spool.memory, plain.spool.memory);
    EXPECT_EQ((*made)->spool.disk, plain.spool.disk);

    const auto* vit = (*made)->find("vision");
    ASSERT_NE(vit, nullptr);
    const auto* any = (*made)->find("some/other");
    ASSERT_NE(any, nullptr);
    const auto* sleeper = (*made)->find_upstream("vit-prod");
    const auto* silent = (*made)->find_upstream("llm");
    ASSERT_TRUE(sleeper != nullptr && silent != nullptr);
    EXPECT_EQ(sleeper->wake_timeout, silent->wake_timeout);
    EXPECT_EQ(vit->fallback.on, any->fallback.on) << "full.yaml lists the default of `on`";
}

} // namespace
} // namespace gw::config
