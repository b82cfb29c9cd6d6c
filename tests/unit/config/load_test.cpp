// Good policies: what the settings hold.
#include "config/digest.hpp"
#include "fixture.hpp"
#include "payload/tasks.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace gw::config {
namespace {

using namespace std::chrono_literals;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

// Loads a policy that must be good.
std::shared_ptr<const settings> good(std::string_view yaml, const environment& env = fake_environment())
{
    auto made = load_text(yaml, "/etc/fourways/policy.yaml", env);
    EXPECT_THAT(sentences(made), IsEmpty());
    return made ? *made : std::make_shared<const settings>();
}

constexpr std::string_view small = R"(
upstreams:
  own: { kind: local, url: "http://127.0.0.1:9000" }
models:
  "*": { route: [own] }
)";

TEST(load, defaults)
{
    const auto made = good(small);
    ASSERT_EQ(made->upstreams.size(), 1U);
    EXPECT_EQ(made->file, "/etc/fourways/policy.yaml");
    EXPECT_THAT(made->listen, testing::SizeIs(1));
    EXPECT_EQ(made->listen[0].at, (address{"127.0.0.1", 8080}));
    EXPECT_EQ(made->admin, (address{"127.0.0.1", 8081}));
    EXPECT_TRUE(made->open);
    EXPECT_THAT(made->notes, IsEmpty());

    const auto& own = *made->upstreams[0];
    EXPECT_EQ(own.kind, kind::local);
    EXPECT_EQ(own.engine, engine::toolkit);
    EXPECT_EQ(own.payload, payload_form::automatic);
    EXPECT_EQ(own.max_in_flight, 0U);
    EXPECT_EQ(own.max_waiting, 256U);
    EXPECT_EQ(own.timeout.connect, 5s);
    EXPECT_FALSE(own.timeout.first_byte.has_value());
    EXPECT_EQ(own.timeout.first_byte_stream, 60s);
    EXPECT_FALSE(own.without_token());
    EXPECT_FALSE(own.checks_private);

    const auto& all = *made->models.at(0);
    EXPECT_TRUE(all.pattern);
    EXPECT_EQ(all.literal_prefix, "");
    EXPECT_EQ(all.fallback.attempts, 3U);
    EXPECT_EQ(all.fallback.deadline, 10min);
    EXPECT_EQ(all.fallback.max_wait, 30s);
    EXPECT_THAT(
        all.fallback.on,
        ElementsAre(
            outcome::rate_limited,
            outcome::out_of_credits,
            outcome::token_rejected,
            outcome::warming,
            outcome::unavailable,
            outcome::unsupported,
            outcome::too_large
        )
    );
}

TEST(load, everything_an_upstream_can_say)
{
    const auto made = good(
        R"(
tokens:
  acme: { secret: "${HF_TOKEN}", bill_to: acme-inc }
  spare: { secret: "${SPARE}" }
upstreams:
  router: { kind: serverless, tokens: [acme, spare] }
  mirror: { kind: serverless, url: "http://127.0.0.1:7000/v1/" }
  vit:
    kind: dedicated
    url: "https://ABC.example.com/base/"
    token: acme
    payload: base64
    path: /predict
    timeout: { connect: 250ms, first_byte: 5m, idle: 1h, total: 2h }
    proxy: "http://proxy:3128"
    max_in_flight: 8
  llm: { kind: dedicated, url: "https://[2001:DB8::1]:8000/v1", engine: openai, max_in_flight: 8, max_waiting: 3 }
models:
  google/vit-base-patch16-224:
    task: image-classification
    aliases: [vision, v]
    route: [router, [{ upstream: vit, weight: 3 }, { upstream: llm, model: served }], mirror]
    fallback: { attempts: 2, deadline: 60s, max_wait: 0, on: [timeout] }
)",
        fake_environment({{"SPARE", "hf_spare"}})
    );
    ASSERT_EQ(made->upstreams.size(), 4U);

    const auto& router = *made->find_upstream("router");
    EXPECT_EQ(router.at.origin, "https://router.huggingface.co:443");
    EXPECT_EQ(router.at.host_header, "router.huggingface.co");
    EXPECT_TRUE(router.checks_private);
    EXPECT_TRUE(router.needs_token);
    ASSERT_EQ(router.tokens.size(), 2U);
    EXPECT_EQ(router.tokens[0]->name, "acme");
    EXPECT_EQ(router.tokens[0]->bill_to, "acme-inc");
    EXPECT_EQ(router.tokens[0]->value.reveal(), "hf_CANARY_environment");
    EXPECT_EQ(router.tokens[0]->hash, hash_of({"hf_CANARY_environment"}));
    EXPECT_NE(router.tokens[0]->hash, router.tokens[1]->hash);

    const auto& mirror = *made->find_upstream("mirror");
    EXPECT_FALSE(mirror.needs_token) << "a mirror may add a token itself";
    EXPECT_FALSE(mirror.without_token());
    EXPECT_FALSE(mirror.checks_private);
    EXPECT_EQ(mirror.at.base_path, "") << "the adapter adds /v1 itself";
    EXPECT_EQ(mirror.at.host_header, "127.0.0.1:7000");

    const auto& vit = *made->find_upstream("vit");
    EXPECT_EQ(vit.at.host, "abc.example.com");
    EXPECT_EQ(vit.at.base_path, "/base");
    EXPECT_EQ(vit.path, "/predict");
    EXPECT_EQ(vit.payload, payload_form::base64);
    EXPECT_EQ(vit.proxy, "http://proxy:3128");
    EXPECT_EQ(vit.timeout.connect, 250ms);
    EXPECT_EQ(vit.timeout.first_byte, 5min);
    EXPECT_EQ(vit.timeout.first_byte_stream, 5min);
    EXPECT_EQ(vit.timeout.idle, 1h);
    EXPECT_EQ(vit.timeout.total, 2h);
    EXPECT_EQ(vit.max_in_flight, 8U);
    EXPECT_EQ(vit.max_waiting, 16U) << "twice max_in_flight";

    const auto& llm = *made->find_upstream("llm");
    EXPECT_EQ(llm.at.host, "2001:db8::1");
    EXPECT_EQ(llm.at.origin, "https://[2001:db8::1]:8000");
    EXPECT_EQ(llm.at.base_path, "");
    EXPECT_EQ(llm.max_waiting, 3U);

    const auto* entry = made->find("v");
    ASSERT_NE(entry, nullptr);
    EXPECT_EQ(entry->task, payloads::find_task("image-classification"));
    ASSERT_EQ(entry->route.size(), 4U);
    EXPECT_EQ(entry->route[0].to, &router);
    EXPECT_EQ(entry->route[0].rank, 0U);
    EXPECT_EQ(entry->route[1].weight, 3U);
    EXPECT_EQ(entry->route[1].rank, 1U);
    EXPECT_EQ(entry->route[2].model, "served");
    EXPECT_EQ(entry->route[2].rank, 1U);
    EXPECT_EQ(entry->route[3].rank, 2U);
    EXPECT_EQ(entry->fallback.attempts, 2U);
    EXPECT_EQ(entry->fallback.max_wait, 0ms);
    EXPECT_THAT(entry->fallback.on, ElementsAre(outcome::timeout));
}

TEST(load, a_command_is_resolved_against_the_file)
{
    const auto made = good(R"(
tokens: { acme: { secret: "${HF_TOKEN}" } }
upstreams:
  here:
    kind: local
    command: [./bin/python, ../worker.py, "-m=$model", --port, $port, plain/path]
    ready: /live
    idle_stop: 15m
    start_timeout: 30s
    stop_timeout: 0
    env: { HF_TOKEN: $token, A: "${HOME_OF_A:-/a}" }
    token: acme
models:
  m: { route: [here] }
)");
    const auto& here = *made->upstreams.at(0);
    ASSERT_TRUE(here.run.has_value());
    EXPECT_THAT(
        here.run->command,
        ElementsAre(
            "/etc/fourways/bin/python", "/etc/worker.py", "-m=$model", "--port", "$port", "plain/path"
        )
    );
    EXPECT_EQ(here.run->ready, "/live");
    EXPECT_EQ(here.health, "/live");
    EXPECT_EQ(here.run->idle_stop, 15min);
    EXPECT_EQ(here.run->start_timeout, 30s);
    EXPECT_EQ(here.run->stop_timeout, 0ms);
    EXPECT_EQ(here.run->directory, "/etc/fourways");
    EXPECT_EQ(here.run->env.at("HF_TOKEN"), "$token") << "the secret is put in when the process starts";
    EXPECT_EQ(here.run->env.at("A"), "/a");
}

TEST(load, empty_tokens_turn_upstreams_off_and_leave_pools)
{
    const auto made = good(R"(
tokens:
  none: { secret: "${EMPTY:-}" }
  unset: { secret: "${NOT_SET:-}" }
  acme: { secret: "${HF_TOKEN:-}" }
upstreams:
  off: { kind: serverless, tokens: [none, unset] }
  pool: { kind: serverless, tokens: [none, acme] }
  own: { kind: dedicated, url: "https://example.com", token: unset }
models:
  "*": { route: [off, pool, own] }
)");
    EXPECT_TRUE(made->find_upstream("off")->without_token());
    EXPECT_TRUE(made->find_upstream("own")->without_token()) << "it names a token, and that is empty";
    const auto& pool = *made->find_upstream("pool");
    EXPECT_FALSE(pool.without_token());
    ASSERT_EQ(pool.tokens.size(), 1U);
    EXPECT_EQ(pool.tokens[0]->name, "acme");
    EXPECT_THAT(
        made->notes,
        ElementsAre(
            "upstream `off` is off (no_token): `none`, `unset` has no value",
            "upstream `own` is off (no_token): `unset` has no value"
        )
    );
}

TEST(load, notes_tell_what_is_never_used)
{
    const auto made = good(R"(
tokens:
  acme: { secret: "${HF_TOKEN}" }
upstreams:
  own: { kind: local, url: "http://127.0.0.1:9000" }
  other: { kind: local, url: "http://127.0.0.1:9001" }
models:
  "*": { route: [own] }
)");
    EXPECT_THAT(
        made->notes, ElementsAre("upstream `other` is in no route", "token `acme` is used by no upstream")
    );
}

TEST(load, an_automatic_route_holds_what_could_run_the_model_in_the_order_of_the_upstreams)
{
    const auto made = good(R"(
tokens:
  acme: { secret: "${HF_TOKEN}" }
upstreams:
  vit: { kind: dedicated, url: "https://a.example", models: ["google/vit*", exact] }
  any: { kind: dedicated, url: "https://b.example" }
  router: { kind: serverless, token: acme }
  worker: { kind: local, command: [python3, w.py, --model, $model, --port, $port] }
  fixed: { kind: local, command: [python3, w.py, --port, $port] }
models:
  google/vit-base: { route: auto }
  other/bert: { route: auto }
  "*": { route: auto }
)");
    const auto names = [&](const char* model) {
        const auto* entry = made->find(model);
        EXPECT_TRUE(entry->automatic);
        std::vector<std::string> all;
        for (const auto& each : entry->route) {
            EXPECT_EQ(each.rank, all.size());
            all.push_back(each.to->name);
        }
        return all;
    };
    EXPECT_THAT(names("google/vit-base"), ElementsAre("vit", "router", "worker"));
    EXPECT_THAT(names("other/bert"), ElementsAre("router", "worker"));
    EXPECT_THAT(names("x/y"), ElementsAre("vit", "router"))
        << "no process for a name that only a pattern matched";
    EXPECT_THAT(
        made->notes,
        ElementsAre(
            "upstream `any` is in no route; `route: auto` chooses it when it says what it runs: `models: "
            "[...]`",
            "upstream `fixed` is in no route; `route: auto` chooses it when it says what it runs: `models: "
            "[...]`"
        )
    );
    EXPECT_TRUE(made->hub.on) << "it is needed";
    EXPECT_EQ(made->hub.at.origin, "https://huggingface.co:443");
    EXPECT_TRUE(made->hub.checks_private);
    EXPECT_EQ(made->hub.with, nullptr);
    EXPECT_EQ(made->hub.cache, std::chrono::minutes(10));
}

TEST(load, the_hub_is_asked_where_the_policy_says_it)
{
    EXPECT_FALSE(good(small)->hub.on);
    const auto made = good(R"(
tokens: { acme: { secret: "${HF_TOKEN}" } }
upstreams: { own: { kind: local, url: "http://127.0.0.1:9000" } }
models: { "*": { route: [own] } }
hub: { url: "http://127.0.0.1:9/mirror", token: acme, cache: 5m }
)");
    EXPECT_TRUE(made->hub.on);
    EXPECT_EQ(made->hub.at.base_path, "/mirror");
    EXPECT_FALSE(made->hub.checks_private) << "the operator's own word";
    EXPECT_EQ(made->hub.with, made->tokens.front().get());
    EXPECT_EQ(made->hub.cache, std::chrono::minutes(5));
    EXPECT_EQ(made->hub.ca_file + made->hub.proxy, "");
    EXPECT_THAT(made->notes, testing::IsEmpty()) << "the token is used";
}

TEST(load, notes_tell_what_the_environment_changes)
{
    const auto made =
        good(small, fake_environment({{"SSL_CERT_FILE", "/x.pem"}, {"HTTPS_PROXY", "http://p:1"}}));
    EXPECT_THAT(
        made->notes,
        ElementsAre(
            HasSubstr("`SSL_CERT_FILE`: it decides which certificates"),
            HasSubstr("`HTTPS_PROXY`: it is not used; write `proxy:`")
        )
    );
}

TEST(load, secrets_from_files_lose_one_final_newline)
{
    std::string pattern = (std::filesystem::temp_directory_path() / "fourways-secret-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    const std::filesystem::path folder(pattern);
    std::ofstream(folder / "unix") << "hf_one\n";
    std::ofstream(folder / "dos") << "hf_two\r\n";
    std::ofstream(folder / "bare") << "hf_three";
    std::ofstream(folder / "long") << std::string(100'000, 'x');
    std::ofstream(folder / "blank") << "hf_CANARY \n";

    const std::string policy = R"(
tokens:
  unix: { secret: "file:unix" }
  dos: { secret: "file:./dos" }
  bare: { secret: "file:${FOLDER}/bare" }
upstreams:
  r: { kind: serverless, tokens: [unix, dos, bare] }
models:
  "*": { route: [r] }
)";
    const auto made =
        load_text(policy, (folder / "policy.yaml").string(), fake_environment({{"FOLDER", pattern}}));
    EXPECT_THAT(sentences(made), IsEmpty());
    if (made) {
        EXPECT_EQ((*made)->tokens[0]->value.reveal(), "hf_one");
        EXPECT_EQ((*made)->tokens[1]->value.reveal(), "hf_two");
        EXPECT_EQ((*made)->tokens[2]->value.reveal(), "hf_three");
        EXPECT_EQ((*made)->tokens[0]->file, (folder / "unix").string());
        EXPECT_EQ((*made)->tokens[2]->file, (folder / "bare").string());
    }
    for (const auto* name : {"long", "blank"}) {
        const std::string bad =
            "tokens: { t: { secret: \"file:" + std::string(name) +
            "\" } }\nupstreams: { r: { kind: serverless, token: t } }\nmodels: { \"*\": { route: [r] } }\n";
        const auto refused = sentences(load_text(bad, (folder / "policy.yaml").string(), fake_environment()));
        EXPECT_THAT(refused, ElementsAre(HasSubstr("tokens.t.secret:"))) << name;
        EXPECT_THAT(refused, testing::Not(Contains(HasSubstr("CANARY"))));
    }
    std::filesystem::remove_all(folder);
}

TEST(load, clients_and_their_models)
{
    const std::string digest = "sha256:" + to_hex(sha256("hf_key"));
    const auto made = good(
        R"(
listen: ["0.0.0.0:8080", "[::]:8080"]
admin: { address: 0.0.0.0:9090, key: ")" +
        digest + R"(" }
upstreams:
  own: { kind: local, url: "http://127.0.0.1:9000" }
models:
  google/vit: { aliases: [vision], route: [own] }
  "open/*": { route: [own] }
clients:
  app: { keys: [")" +
        digest + R"("], models: [vision, "open/*", open/x, google/vit] }
  all: { keys: ["sha256:BBBBbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"] }
)"
    );
    EXPECT_FALSE(made->open);
    EXPECT_EQ(made->listen.size(), 2U);
    EXPECT_EQ(made->listen.at(1).at, (address{"::", 8080}));
    EXPECT_EQ(made->admin_key_digest, sha256("hf_key"));
    ASSERT_EQ(made->clients.size(), 2U);
    EXPECT_EQ(made->clients[0].key_digests, std::vector{sha256("hf_key")});
    EXPECT_THAT(made->clients[0].models, ElementsAre("google/vit", "open/*", "open/x", "google/vit"))
        << "an alias allows what it stands for";
    EXPECT_THAT(made->clients[1].models, IsEmpty());
    EXPECT_EQ(made->clients[1].key_digests.at(0).size(), 32U);
}

TEST(load, the_admin_key_may_come_from_outside)
{
    const auto made = good(
        "admin: { address: \"0.0.0.0:1\", key: \"${ADMIN_KEY}\" }\n" + std::string(small),
        fake_environment({{"ADMIN_KEY", "gw_key"}})
    );
    EXPECT_EQ(made->admin_key_digest, sha256("gw_key"));
    const auto refused =
        load_text("admin: { key: gw_CANARY }\n" + std::string(small), "p.yaml", fake_environment());
    EXPECT_THAT(
        sentences(refused),
        ElementsAre(HasSubstr("p.yaml:1: admin.key: a secret must not stand in this file"))
    );
}

TEST(load, a_token_in_the_wrong_place_is_not_told_on)
{
    const std::string token = "hf_" + std::string(17, 'A') + std::string(17, '7');
    const auto refused = load_text(
        "hub: " + token + "\n" + token + ": hf_hub\n" + std::string(small), "p.yaml", fake_environment()
    );
    const auto all = sentences(refused);
    EXPECT_THAT(all, Contains(HasSubstr("p.yaml:2: hf_...: unknown key")));
    EXPECT_THAT(all, Each(Not(HasSubstr("AAAA"))));
    EXPECT_THAT(all, Each(Not(HasSubstr("7777"))));
}

TEST(load, limits_and_spool)
{
    const auto made = good(std::string(small) + R"(
limits: { payload_bytes: 10MiB, json_depth: 10, header_timeout: 250ms, drain: 0 }
spool: { dir: spool, memory: 1MiB, memory_per_body: 4KiB, disk: 0 }
)");
    EXPECT_EQ(made->limits.payload_bytes, 10U << 20U);
    EXPECT_EQ(made->limits.json_depth, 10U);
    EXPECT_EQ(made->limits.header_timeout, 250ms);
    EXPECT_EQ(made->limits.drain, 0ms);
    EXPECT_EQ(made->spool.dir, "/etc/fourways/spool");
    EXPECT_EQ(made->spool.disk, 0U);
}

TEST(load, variables_are_expanded_scalar_by_scalar)
{
    const environment env = fake_environment({{"HOST", "a.example.com"}, {"LINE", "x, y: { z }"}});
    const auto made = good(
        R"(
upstreams:
  own:
    kind: dedicated
    url: "https://${HOST}:${PORT:-8443}${EMPTY:-/base}"
    timeout: { connect: "${CONNECT:-7s}" }
    engine: custom
    request: { in: $inputs, text: "${LINE}", raw: "$${HOST}", both: "${HOST}/${HOST}" }
models:
  "*": { route: [own] }
)",
        env
    );
    const auto& own = *made->upstreams.at(0);
    EXPECT_EQ(own.at.origin, "https://a.example.com:8443");
    EXPECT_EQ(own.at.base_path, "/base");
    EXPECT_EQ(own.timeout.connect, 7s);
    ASSERT_EQ(own.request.size(), 3U);
    EXPECT_EQ(
        own.request[2].text, R"(,"text":"x, y: { z }","raw":"${HOST}","both":"a.example.com/a.example.com"})"
    );
}

TEST(load, flags_replace_and_keep_the_rules)
{
    const auto made = load_text(
        "listen: 127.0.0.1:1\nadmin: 127.0.0.1:2\n" + std::string(small),
        "p.yaml",
        fake_environment(),
        {.listen = "localhost:0", .admin = "[::1]:0"}
    );
    EXPECT_THAT(sentences(made), IsEmpty());
    if (made) {
        EXPECT_EQ((*made)->listen.size(), 1U);
        EXPECT_EQ((*made)->listen[0].at, (address{"localhost", 0}));
        EXPECT_EQ((*made)->admin, (address{"::1", 0}));
    }
    const auto refused =
        load_text(small, "p.yaml", fake_environment(), {.listen = "0.0.0.0:80", .admin = "nonsense"});
    EXPECT_THAT(
        sentences(refused),
        ElementsAre(
            HasSubstr("--admin: `nonsense` is no address: it has no port"),
            HasSubstr("--listen: without `clients:` whoever reaches `0.0.0.0` could spend your tokens")
        )
    );
}

TEST(load, without_a_file_every_model_has_the_serverless_way)
{
    const auto made = load_default(fake_environment());
    ASSERT_TRUE(made.has_value());
    const auto* entry = (*made)->find("any/model");
    ASSERT_NE(entry, nullptr);
    ASSERT_EQ(entry->route.size(), 1U);
    EXPECT_EQ(entry->route[0].to->kind, kind::serverless);
    EXPECT_EQ(entry->route[0].to->tokens.at(0)->value.reveal(), "hf_CANARY_environment");
    EXPECT_TRUE((*made)->open);
    EXPECT_THAT((*made)->notes, IsEmpty());

    const auto off = load_default([](std::string_view) { return std::nullopt; });
    ASSERT_TRUE(off.has_value());
    EXPECT_TRUE((*off)->upstreams.at(0)->without_token());
    EXPECT_THAT((*off)->notes, ElementsAre(HasSubstr("upstream `router` is off (no_token)")));

    const auto broken =
        load_default([](std::string_view) { return std::optional<std::string>("hf_CANARY\r\nX: y"); });
    EXPECT_THAT(
        sentences(broken), ElementsAre(HasSubstr("tokens.hf.secret: the value of `HF_TOKEN` is no secret"))
    );
    EXPECT_THAT(sentences(broken), testing::Not(Contains(HasSubstr("CANARY"))));
    EXPECT_FALSE(load_default(fake_environment(), {.listen = "0.0.0.0:1"}).has_value());
}

TEST(load, the_same_upstream_keeps_its_identity_over_a_reload)
{
    const auto id = [](std::string_view rest) {
        return good(
                   "upstreams:\n  own: { kind: dedicated, " + std::string(rest) +
                   " }\nmodels:\n  \"*\": { route: [own] }\n"
        )
            ->upstreams.at(0)
            ->id;
    };
    const auto base = id("url: \"https://a.example.com\"");
    EXPECT_EQ(base, id("url: \"https://A.example.com:443/\", max_in_flight: 3, timeout: { idle: 1s }"));
    EXPECT_NE(base, id("url: \"https://b.example.com\""));
    EXPECT_NE(base, id("url: \"https://a.example.com\", engine: openai"));
    EXPECT_NE(base, id("url: \"https://a.example.com\", proxy: \"http://p:1\""));
}

TEST(load, ten_thousand_models)
{
    std::string policy = "upstreams:\n  own: { kind: local, url: \"http://127.0.0.1:9000\" }\nmodels:\n";
    for (int i = 0; i < 10'000; ++i) {
        policy += "  org/model-" + std::to_string(i) + ": { aliases: [alias-" + std::to_string(i) +
                  "], route: [own] }\n";
    }
    const auto made = good(policy);
    ASSERT_EQ(made->models.size(), 10'000U);
    EXPECT_EQ(made->find("alias-9999"), made->models[9'999].get());
    EXPECT_EQ(made->find("org/model-10000"), nullptr);
}

TEST(load, problems_print_as_sentences)
{
    EXPECT_EQ(to_string(problem{"p.yaml", 12, "a.b", "wrong"}), "p.yaml:12: a.b: wrong");
    EXPECT_EQ(to_string(problem{"p.yaml", 0, "", "wrong"}), "p.yaml: wrong");
    EXPECT_EQ(to_string(problem{"", 0, "--listen", "wrong"}), "--listen: wrong");
}

} // namespace
} // namespace gw::config
