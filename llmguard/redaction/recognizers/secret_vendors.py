"""Keys and tokens that vendors gave a prefix, so that a scanner can know them.

Source: the vendors' pages on their key formats, GitHub's list of secret-scanning patterns, and which vendors the rules
of kingfisher-secret-scanner 1.5.0 (Apache-2.0) know, read in 2026; each length is a range, since vendors lengthen keys without notice.
"""
# ruff: noqa: E501, SIM905  # a regex is read in one piece; lists of words read better without quotes

import re

from llmguard.redaction.recognizers.base import Rule
from llmguard.redaction.recognizers.secret_quality import is_random

# name, literals of which one is in every such key (a cheap test before the regex), the key as a regex without lookaround
_VENDORS = (
    ("llmguard key", "sk-lg_ op-lg_", r"(?:sk|op)-lg_[\w-]{8,16}_[\w-]{30,60}"),
    ("Anthropic key", "sk-ant-", r"sk-ant-[\w-]{24,140}"),
    ("OpenAI key", "sk-", r"sk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{20,200}"),
    ("OpenRouter key", "sk-or-", r"sk-or-v1-[0-9a-f]{48,80}"),
    ("AWS access key id", "AKIA ASIA AROA AIDA ABIA ACCA", r"(?:AKIA|ASIA|AROA|AIDA|ABIA|ACCA)[A-Z2-7]{16}"),
    ("AWS Bedrock key", "ABSK", r"ABSK[A-Za-z0-9+/]{100,270}={0,2}"),
    ("Google API key", "AIza", r"AIza[\w-]{35}"),
    ("Google OAuth token", "ya29.", r"ya29\.[\w-]{20,400}"),
    ("Google OAuth secret", "GOCSPX-", r"GOCSPX-[\w-]{28}"),
    ("GitHub token", "ghp_ gho_ ghu_ ghs_ ghr_", r"gh[pousr]_[A-Za-z0-9]{30,255}"),
    ("GitHub fine-grained token", "github_pat_", r"github_pat_\w{60,255}"),
    (
        "GitLab token",
        "glpat- gldt- glrt- glcbt- glptt- glft- glimt- glagent- gloas- glsoat- glrtr-",
        r"gl(?:pat|dt|rt|cbt|ptt|ft|imt|agent|oas|soat|rtr)-[\w.-]{18,300}",
    ),
    ("Slack token", "xox", r"xox[abposre]-[A-Za-z0-9-]{10,250}"),
    ("Slack app token", "xapp-", r"xapp-\d-[A-Z0-9]{8,16}-\d{8,16}-[a-z0-9]{40,80}"),
    ("Slack webhook", "hooks.slack.com", r"hooks\.slack\.com/(?:services|workflows|triggers)/[\w/]{20,120}"),
    ("Discord webhook", "/api/webhooks/", r"discord(?:app)?\.com/api/webhooks/\d{15,22}/[\w-]{40,100}"),
    ("Stripe key", "_live_ _test_", r"(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{16,247}"),
    ("Stripe webhook secret", "whsec_", r"whsec_[A-Za-z0-9+/]{24,64}={0,2}"),
    ("SendGrid key", "SG.", r"SG\.[\w-]{16,32}\.[\w-]{32,64}"),
    ("Twilio key", "SK AC", r"(?:SK|AC)[0-9a-f]{32}"),
    ("Mailgun key", "key-", r"key-[0-9a-f]{32}"),
    ("Mailchimp key", "-us", r"[0-9a-f]{32}-us\d{1,2}"),
    ("npm token", "npm_", r"npm_[A-Za-z0-9]{36}"),
    ("PyPI token", "pypi-", r"pypi-AgE[\w-]{50,300}"),
    ("RubyGems key", "rubygems_", r"rubygems_[0-9a-f]{48}"),
    ("Docker Hub token", "dckr_", r"dckr_(?:pat|oat)_[\w-]{24,64}"),
    ("Hugging Face token", "hf_ api_org_", r"(?:hf|api_org)_[A-Za-z]{30,40}"),
    ("Replicate token", "r8_", r"r8_[A-Za-z0-9]{36,40}"),
    ("Groq key", "gsk_", r"gsk_[A-Za-z0-9]{40,60}"),
    ("xAI key", "xai-", r"xai-[A-Za-z0-9]{60,90}"),
    ("Perplexity key", "pplx-", r"pplx-[A-Za-z0-9]{40,60}"),
    ("Databricks token", "dapi", r"dapi[0-9a-f]{32}(?:-\d)?"),
    ("DigitalOcean token", "_v1_", r"do[opr]_v1_[0-9a-f]{64}"),
    ("Cloudflare origin key", "v1.0-", r"v1\.0-[0-9a-f]{24}-[0-9a-f]{100,160}"),
    ("Heroku key", "HRKU-", r"HRKU-[\w-]{36,70}"),
    ("Vercel token", "vca_ vci_ vck_ vcp_ vcr_", r"vc[aikpr]_[A-Za-z0-9]{24,60}"),
    ("Supabase key", "sbp_ sb_secret_", r"sb(?:p|_secret)_[A-Za-z0-9_-]{20,60}"),
    ("PlanetScale token", "pscale_", r"pscale_(?:tkn|pw|oauth)_[\w.=-]{32,64}"),
    ("Shopify token", "shpat_ shpca_ shppa_ shpss_", r"shp(?:at|ca|pa|ss)_[0-9a-fA-F]{32}"),
    ("Square token", "EAAA sq0", r"(?:EAAA|sq0(?:atp|csp|idp)-)[\w-]{22,60}"),
    ("PayPal Braintree token", "access_token$", r"access_token\$(?:production|sandbox)\$[0-9a-z]{16}\$[0-9a-f]{32}"),
    ("Telegram bot token", ":AA", r"\d{8,10}:AA[\w-]{32,34}"),
    ("Atlassian token", "ATATT3", r"ATATT3[\w=-]{60,250}"),
    ("Bitbucket token", "ATBB", r"ATBB[A-Za-z0-9]{32}"),
    ("Linear key", "lin_", r"lin_(?:api|oauth)_[A-Za-z0-9]{32,80}"),
    ("Notion token", "secret_ ntn_", r"(?:secret_|ntn_)[A-Za-z0-9]{40,50}"),
    ("Airtable token", "pat", r"pat[A-Za-z0-9]{14}\.[0-9a-f]{64}"),
    ("Figma token", "figd_", r"figd_[\w-]{36,60}"),
    ("Postman key", "PMAK-", r"PMAK-[0-9a-f]{24}-[0-9a-f]{34}"),
    ("Grafana token", "glc_ glsa_", r"gl(?:c|sa)_[A-Za-z0-9+/_=]{32,400}"),
    ("New Relic key", "NRAK- NRJS- NRII- NRRA-", r"NR(?:AK|JS|II|RA)-[A-Za-z0-9-]{24,48}"),
    ("Sentry token", "sntry", r"sntry[su]_[\w+/=-]{40,300}"),
    ("Datadog key", "ddpat_ ddapp_", r"dd(?:pat|app)_[A-Za-z0-9]{30,60}"),
    ("Doppler token", "dp.", r"dp\.(?:pt|st|ct|sa|scim|audit)\.[\w.-]{30,80}"),
    ("Pulumi token", "pul-", r"pul-[0-9a-f]{40}"),
    ("Terraform Cloud token", ".atlasv1.", r"[A-Za-z0-9]{14}\.atlasv1\.[\w-]{60,70}"),
    ("HashiCorp Vault token", "hvs. hvb. hvr.", r"hv[sbr]\.[\w-]{24,300}"),
    ("Azure client secret", "Q~", r"[\w~.-]{3}\dQ~[\w~.-]{31,34}"),
    ("Fly.io token", "FlyV1 fo1_", r"(?:FlyV1 fm\d_|fo1_)[\w+/=,-]{40,600}"),
    ("Alibaba Cloud key id", "LTAI", r"LTAI[A-Za-z0-9]{16,24}"),
    ("Tencent Cloud key id", "AKID", r"AKID[A-Za-z0-9]{28,36}"),
    ("Facebook token", "EAA", r"EAA[A-Z][A-Za-z0-9]{80,300}"),
    ("Adafruit key", "aio_", r"aio_[A-Za-z0-9]{28}"),
    ("Dropbox token", "sl.", r"sl\.[\w-]{100,1500}"),
    ("1Password token", "ops_eyJ", r"ops_eyJ[\w+/=-]{200,2000}"),
    ("Typeform token", "tfp_", r"tfp_[\w.=-]{40,70}"),
    ("PostHog key", "phc_ phx_", r"ph[cx]_[A-Za-z0-9]{32,60}"),
    ("LangSmith key", "lsv2_", r"lsv2_(?:pt|sk)_[0-9a-f]{32}_[0-9a-f]{10}"),
    ("Langfuse key", "-lf-", r"(?:sk|pk)-lf-[0-9a-f-]{36}"),
    ("Pinecone key", "pcsk_", r"pcsk_[A-Za-z0-9_]{40,90}"),
    ("NVIDIA key", "nvapi-", r"nvapi-[\w-]{60,70}"),
    ("Tailscale key", "tskey-", r"tskey-(?:auth|api|client|scim)-[A-Za-z0-9]{10,24}-[A-Za-z0-9]{20,60}"),
    ("Buildkite token", "bkua_", r"bkua_[0-9a-f]{40}"),
    ("SonarQube token", "sqa_ sqp_ squ_", r"sq[apu]_[0-9a-f]{40}"),
    ("Artifactory key", "AKCp", r"AKCp[A-Za-z0-9]{65,75}"),
    ("Prefect key", "pnb_ pnu_", r"pn[bu]_[A-Za-z0-9]{36}"),
    ("1Password secret key", "A3-", r"A3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})(?:-[A-Z0-9]{5}){3}"),
    ("Adobe client secret", "p8e-", r"p8e-[A-Za-z0-9]{32}"),
    ("Aikido token", "AIK_CI_", r"AIK_CI_[A-Za-z0-9]{20,44}"),
    ("Apify token", "apify_api_", r"apify_api_[A-Za-z0-9]{34,38}"),
    ("Bitbucket Data Center token", "BBDC-", r"BBDC-[A-Za-z0-9+/=]{32,80}"),
    ("Brave Search key", "BSA", r"BSA[\w-]{24,40}"),
    ("Buildkite service token", "bkaa_ bkaj_ bkar_ bkct_ bkpt_ bkpat_", r"bk(?:aa|aj|ar|ct|pt|pat)_[\w-]{40,340}"),
    ("Cerebras key", "csk-", r"csk-[a-z0-9]{48}"),
    ("CircleCI token", "CCIPAT_ CCIPRJ_", r"CCIP(?:AT|RJ)_[A-Za-z0-9]{22}_[a-z0-9]{40}"),
    ("Clojars token", "CLOJARS_", r"CLOJARS_[A-Za-z0-9]{60}"),
    ("Cloudflare token", "cfut_ cfat_", r"cf[ua]t_[A-Za-z0-9]{48}"),
    ("Cloudsmith key", "csa_", r"csa_[A-Za-z0-9]{36}"),
    ("CockroachDB key", "CCDB1_", r"CCDB1_[A-Za-z0-9]{22}_[A-Za-z0-9]{40}"),
    ("DataStax token", "AstraCS:", r"AstraCS:[A-Za-z0-9]{20,100}(?::[a-f0-9]{64})?"),
    ("Deno token", "ddp_ ddo_", r"dd[po]_[A-Za-z0-9]{36}"),
    (
        "Docker Swarm key",
        "SWMTKN-1- SWMKEY-1-",
        r"SWM(?:TKN-1-[a-z0-9]{50,60}-[a-z0-9]{24,30}|KEY-1-[A-Za-z0-9+/]{40,50})",
    ),
    ("Duffel token", "duffel_", r"duffel_(?:test|live)_[\w=-]{43}"),
    ("Dynatrace token", "dt0c01.", r"dt0c01\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{64}"),
    ("EasyPost key", "EZAK EZTK", r"EZ[AT]K[A-Za-z0-9]{54}"),
    ("Elastic Cloud key", "essu_", r"essu_[\w-]{60,200}={0,2}"),
    ("Flutterwave key", "FLWSECK_ FLWPUBK_", r"FLW(?:SECK|PUBK)_TEST-[A-Za-z0-9]{12,32}(?:-X)?"),
    ("Frame.io token", "fio-u-", r"fio-u-[\w=-]{64}"),
    ("Gemini key", "AQ.Ab8RN6", r"AQ\.Ab8RN6[\w-]{44}"),
    ("GitLab feature flag token", "glffct-", r"glffct-[\w-]{20}"),
    ("GitLab runner token", "GR1348941", r"GR1348941[\w-]{20}"),
    ("Grafana key", "eyJrIjoi", r"eyJrIjoi[A-Za-z0-9+/]{40,380}={0,2}"),
    ("Harness key", "pat. sat.", r"[ps]at\.[\w-]{22}\.[0-9a-f]{24}\.[A-Za-z0-9]{20}"),
    ("Infracost key", "ico-", r"ico-[A-Za-z0-9]{32}"),
    ("Ionic token", "ion_", r"ion_[A-Za-z0-9]{42}"),
    ("LlamaCloud key", "llx-", r"llx-[A-Za-z0-9]{44,52}"),
    ("MailerSend token", "mlsn.", r"mlsn\.[A-Za-z0-9]{30,100}"),
    ("MaxMind key", "_mmk", r"[A-Za-z0-9]{6}_[A-Za-z0-9]{29}_mmk"),
    ("Mergify key", "mergify_application_key_", r"mergify_application_key_[\w-]{40,200}"),
    ("Teams webhook", "webhook.office.com", r"[a-z0-9]{1,60}\.webhook\.office\.com/webhookb2/[\w@/-]{60,200}"),
    ("Miro token", "eyJtaXJv", r"eyJtaXJv[A-Za-z0-9-]{10,64}_[\w-]{20,64}"),
    ("Neon key", "napi_", r"napi_[A-Za-z0-9]{64}"),
    ("Nylas key", "nyk_", r"nyk_[A-Za-z0-9]{67}"),
    ("Octopus Deploy key", "API-", r"API-[A-Z0-9]{26}"),
    ("OneSignal key", "os_v2_", r"os_v2_(?:app|org)_[a-z2-7]{103}"),
    ("Onfido token", "api_live", r"api_live(?:_ca|_us)?\.[\w-]{20,80}"),
    ("OpenShift token", "sha256~", r"sha256~[\w-]{43}"),
    ("Packagist token", "packagist_", r"packagist_(?:ort|out|acs)_[0-9a-f]{64,96}"),
    ("Paddle key", "pdl_", r"pdl_(?:live|sdbx)_apikey_[a-z0-9]{26}_[A-Za-z0-9]{22}_[A-Za-z0-9]{3}"),
    ("Pinterest token", "pina_", r"pina_[\w-]{20,200}"),
    ("Polar token", "polar_", r"polar_(?:at|oat|pat)_[\w-]{20,100}"),
    ("Postman collection token", "PMAT-", r"PMAT-[A-Za-z0-9]{26}"),
    ("ReadMe key", "rdme_", r"rdme_[a-z0-9]{70}"),
    ("Render key", "rnd_", r"rnd_[A-Za-z0-9]{28}"),
    ("Resend key", "re_", r"re_[1-9A-HJ-NP-Za-km-z]{8}_[1-9A-HJ-NP-Za-km-z]{24}"),
    ("Rootly key", "rootly_", r"rootly_[a-f0-9]{64}"),
    ("RunPod key", "rpa_", r"rpa_[A-Z0-9]{30,40}[A-Za-z0-9]{0,6}"),
    ("Segment or Sourcegraph token", "sgp_", r"sgp_(?:(?:[a-fA-F0-9]{16}|local)_)?[A-Za-z0-9]{40,64}"),
    ("Brevo key", "xkeysib-", r"xkeysib-[a-fA-F0-9]{64}-[a-zA-Z0-9]{16}"),
    ("Shippo token", "shippo_", r"shippo_(?:live|test)_[a-fA-F0-9]{40}"),
    ("Slack session token", "xoxc- xoxd-", r"xox[cd]-[\w/+%-]{60,300}={0,2}"),
    ("Together key", "tgp_v1_", r"tgp_v1_[\w-]{43}"),
    ("Unkey key", "unkey_", r"unkey_[A-Za-z0-9]{20,32}"),
    ("UpCloud token", "ucat_", r"ucat_[A-Za-z0-9]{24,32}"),
    ("Val Town token", "vtwn_", r"vtwn_[\w-]{20,80}"),
    ("Voyage key", "pa- al-", r"(?:pa|al)-[\w-]{43}"),
    ("WakaTime key", "waka_", r"waka_[a-z0-9-]{36,64}"),
    ("Weights & Biases key", "wandb_v1_", r"wandb_v1_\w{77}"),
    ("Xendit key", "xnd_", r"xnd_(?:production|development)_[A-Za-z0-9]{56,72}"),
    ("Zuplo key", "zpka_", r"zpka_[a-z0-9]{32}_[0-9a-f]{8}"),
)
# Vendors whose keys have no prefix: what is random behind their name and a sign is one.
_NAMED_VENDORS = (
    "abuseipdb adafruit adobe airtable asana assemblyai beamer bitbucket bittrex bitly bitrise circleci civo clickup cloudflare"
    " codecov cohere coinbase configcat confluent contentful coveralls databento datadog deepgram discord disqus droneci"
    " dropbox elevenlabs etsy facebook fastly finicity finnhub flickr freshbooks gitter gocardless greptile gumroad heroku"
    " honeycomb hubspot infomaniak intercom jumpcloud kagi klaviyo kraken kucoin launchdarkly looker mailgun mapbox"
    " mattermost meraki mistral netlify newrelic new_relic new-relic nytimes openweather opsgenie pagerduty plaid postmark"
    " rapidapi sendbird squarespace telegram travis twitch twitter upstage virustotal vultr wandb yandex zendesk zoho"
).split()
_LEAST_DIGITS = 4  # `sk-learn-pipeline-steps-v2` is prose
_NEEDS_MIX = {
    *("OpenAI key", "Hugging Face token", "GitLab token", "Vercel token", "Supabase key", "Square token"),
    *(
        "Brave Search key",
        "Buildkite service token",
        "Pinterest token",
        "Polar token",
        "Onfido token",
        "Val Town token",
    ),
    *("Voyage key", "UpCloud token", "Unkey key", "RunPod key", "Octopus Deploy key", "Infracost key"),
}


def _mixes(value: str) -> bool:
    """Say whether a long value after a short prefix mixes its characters, as words in code do not."""
    tail = value[3:]
    has_case = any(c.islower() for c in tail) and any(c.isupper() for c in tail)
    return has_case or sum(c.isdigit() for c in tail) >= _LEAST_DIGITS


def _is_key(value: str) -> bool:
    """Say whether a value is random and not joined of short parts, as versions, dates and names of packages are."""
    return is_random(value) and any(len(part) >= _LEAST_PART for part in _PART.findall(value))


_PART = re.compile(r"[A-Za-z0-9]+")
_LEAST_PART = 12
_VENDOR_NAMES = "|".join(_NAMED_VENDORS)
_NAMED = re.compile(
    rf"(?i)(?<![a-z])(?:{_VENDOR_NAMES})[ \t\w.-]{{0,20}}[\s'\"]{{0,3}}(?:=>|:=|[=:,|])[`'\"\s=]{{0,5}}"
    r"(?P<v>[A-Za-z0-9_=/+.-]{15,200})(?![A-Za-z0-9_=/+.-])"
)

VENDOR_RULES = (
    *(
        Rule(
            name,
            "API_KEY",
            re.compile(rf"(?<![A-Za-z0-9_]){regex}(?![A-Za-z0-9])"),
            1.0,
            _mixes if name in _NEEDS_MIX else None,
            needs=tuple(literals.lower().split()),
        )
        for name, literals, regex in _VENDORS
    ),
    Rule("key behind its vendor's name", "API_KEY", _NAMED, 0.9, _is_key, tuple(_NAMED_VENDORS), gate=_VENDOR_NAMES),
)
