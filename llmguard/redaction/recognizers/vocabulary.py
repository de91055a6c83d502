"""Capitalised words that are not people: what forms, tickets, code and product pages write with a capital letter.

Used to drop findings, never to make them. Lower case; one list, so that a word is added in one place.
"""
# ruff: noqa: E501, SIM905  # a regex is read in one piece; lists of words read better without quotes

NOT_NAMES: frozenset[str] = frozenset(
    """
    monday tuesday wednesday thursday friday saturday sunday january february march april june july august september
    october november december jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun
    today tomorrow yesterday morning afternoon evening night week month year quarter q1 q2 q3 q4 annual monthly weekly daily
    yes no none null nil true false unknown other others n/a na tbd todo fixme default empty missing pending active inactive
    open closed done new old draft approved rejected cancelled canceled completed failed success failure error warning info
    debug critical high medium low normal urgent enabled disabled on off required optional public private internal external
    full part time full-time part-time contract permanent temporary hourly salaried exempt single married divorced widowed
    male female man woman boy girl sir madam team teams group department dept division unit office company corporation corp
    inc ltd llc gmbh plc co bank university college school hospital clinic institute foundation association committee council
    board ministry agency bureau authority court police army navy church hotel restaurant airport station street avenue road
    sales marketing finance accounting accounts payroll hr human resources legal support service services customer client
    customers clients employee employees engineering engineer operations ops it security admin administrator administration
    user users owner manager managers director president ceo cfo cto coo vp chief officer head lead senior junior assistant
    associate analyst consultant developer designer specialist coordinator supervisor intern trainee representative agent
    doctor nurse physician patient teacher student professor secretary treasurer chairman reception helpdesk desk
    product products project projects plan plans report reports invoice order orders ticket tickets issue issues request
    requests response message messages email mail phone mobile fax address name names date number id code city state country
    zip account account-number card credit debit payment payments balance amount total price cost tax benefit benefits
    salary bonus insurance policy claim claims form forms application applications file files folder document documents
    page pages section chapter table figure appendix note notes summary description title subject comment comments
    status type types value values key keys field fields column columns row rows index list lists string strings integer
    int float double boolean bool object objects array arrays function functions method methods class classes module
    modules package packages import imports return returns parameter parameters argument arguments variable variables
    constant exception exceptions raises args kwargs example examples usage see also warnings deprecated copyright license
    licence version versions release releases changelog readme installation install getting started introduction overview
    background conclusion abstract references contents features requirements quickstart tutorial guide documentation docs
    api apis rest http https html css json xml yaml yml toml csv sql pdf url uri uuid utf ascii unicode tcp udp ip dns ssl
    tls ssh ftp smtp imap oauth jwt sso saml ldap cpu gpu ram ssd usb gui cli sdk ide orm crud etl kpi sla roi crm erp
    python java javascript typescript kotlin scala rust golang ruby php perl swift bash shell powershell linux unix windows
    macos ubuntu debian fedora redhat centos android ios docker kubernetes k8s helm terraform ansible jenkins git github
    gitlab bitbucket jira confluence slack zoom outlook excel word powerpoint sharepoint onedrive office365 dynamics
    salesforce hubspot zendesk servicenow workday sap oracle mysql postgres postgresql sqlite mongodb redis kafka rabbitmq
    elasticsearch kibana grafana prometheus splunk datadog snowflake databricks spark hadoop airflow pandas numpy scipy
    pytorch tensorflow keras jupyter flask django fastapi starlette uvicorn gunicorn nginx apache tomcat node react angular
    vue svelte webpack babel npm yarn pip conda poetry pytest unittest selenium playwright openai anthropic claude gpt
    chatgpt llama mistral gemini copilot bert whisper dall-e codex cohere hugging face azure aws gcp google microsoft apple
    amazon facebook meta twitter linkedin instagram youtube tiktok netflix uber airbnb ibm intel nvidia amd cisco dell hp
    lenovo samsung sony toyota honda ford bmw tesla boeing airbus visa mastercard paypal stripe square amex siri alexa
    cortana echo presidio spacy pydantic sphinx lambda s3 ec2 rds iam vpc chrome firefox safari edge chromium mozilla
    select from where insert update delete into values join left right inner outer group by having limit offset create
    drop alter table view trigger begin end commit rollback and or not in is as with without for while if else then
    the a an this that these those it its he she they we you i me my your his her their our us them him who what when
    where why how which there here please thanks thank hello hi hey dear regards best sincerely cheers kind warm bye
    welcome sorry congratulations happy good great nice ok okay sure well just only very much many more most some any all
    each every both few several such same own can could will would shall should may might must do does did have has had be
    been being am are was were get got make made take took see saw go went come came know knew think thought say said
    also but so because since until although though after before during about above below between under over again further
    once let lets let's don't doesn't isn't can't won't i'm i'll i've it's that's what's there's
    north south east west northern southern eastern western central upper lower greater
    english german french spanish italian portuguese dutch russian chinese japanese korean arabic hindi american british
    european asian african australian canadian mexican indian christian muslim jewish catholic buddhist hindu
    internet web website online server servers client-server database databases cloud data dataset model models network
    system systems software hardware machine learning deep neural artificial intelligence engine platform app apps tool tools
    test tests testing demo sample production staging development dev prod qa uat ci cd build builds deploy deployment
    config configuration settings setup environment env variable token tokens secret password username login logout
    session cookie cache queue worker job jobs task tasks thread process event events log logs logger handler callback
    proxy router gateway endpoint middleware backend frontend client server request response header headers body query
    params path route routes host port domain subnet cluster node nodes pod pods namespace container containers image images
    volume volumes bucket instance instances region zone tenant subscription workspace repository repo branch commit merge
    pull push fork clone tag tags diff patch bug bugs fix fixes feature hotfix sprint backlog epic story kanban scrum agile
    christmas easter thanksgiving halloween hanukkah ramadan diwali covid covid-19 internet wifi bluetooth mit bsd gpl
    apache-2.0 gnu posix iso rfc ieee nist gdpr hipaa pci soc sox ssn dob iban bic swift cvv pin mrn npi dea nhs
    person people organization organisation location text word words recognizer optional print await doc final curation rationale
    mein meine meiner ihr ihre ihrem ihren unterlagen anbei adresse telefon mit freundlichen grüßen sehr geehrte geehrter vertrag rechnung
    tel telefax jenkins celery travis heroku bert-base marker generic hermitian exemplary boolean keyword start began
    str char varchar bytes datetime timestamp uuid decimal numeric bigint any self cls nullable
    convert remove format escape preserve filter generate modify store mask unique sort parse render load save check scan fetch copy
    open-source guardrail guardrails rich typer matplotlib iris samples sample-set graphical interface target macintosh gecko safari mozilla
    arial helvetica verdana roboto consolas menlo monaco tahoma calibri cambria courier ubuntu-mono blinkmacsystemfont oxygen-sans
    node.js vue.js next.js deno bun xslt libxslt utf-8 shelf lamp cable kit monitor arm desk chair table licensed orphan iterative
    schemas schema notion gmail calendar drive vertex integrated subsequent ranking batting scopes tickfont solaris newton-cg
    valkey popen selecting unpacking preparing installing caching fraction guides parquet
    lol omg btw haha yeah yep nope hmm kollege kollegin herr frau madame monsieur bonjour hallo votre dossier
    newsletter meeting update edition deadline budget forecast
    foo bar baz qux lorem ipsum alpha beta gamma delta epsilon omega sigma theta
    """.split()  # one word after the other reads better than 700 quotes
)
# Words that stand inside names and are written small.
PARTICLES: frozenset[str] = frozenset(
    "van von der den de del della di da dos das du la le el al bin ibn ben ten ter zu zum e y und af av".split()
)
TITLES = (
    r"(?:Mr|Mrs|Ms|Miss|Mx|Dr|Prof|Professor|Sir|Madam|Dame|Lord|Lady|Rev|Reverend|Fr|Hon|Capt|Captain|Sgt|Lt|Col|Maj|Gen"
    r"|Herr|Herrn|Frau|Monsieur|Madame|Mme|Mlle|Señor|Señora|Sr|Sra|Signor|Signora|Sig|Doctor|Doctora|Judge|Senator|Rabbi)"
)
